"""What the generating routes share: read, begin, and answer as a whole or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from astraea.executor.sampling import Sampling
from astraea.server.refusals import ApiError
from astraea.server.replies import Reply, Update
from astraea.server.schema import AskedSampling
from astraea.server.service import Asker, Service
from astraea.server.streaming import KEEP_ALIVE, EventStream, unless_left

__all__ = ["IGNORED_HEADER", "Form", "answer", "asker_of", "sampling_of", "service_of"]

IGNORED_HEADER = "X-Astraea-Ignored"
_BEGIN_WAIT_S = 0.25
"""How long a stream's headers wait for a first token: what is refused at once is then an error and no stream."""
_TOP_K_ALL = -1


class Form(Protocol):
    """How one API writes answers."""

    def whole(self, reply: Reply) -> Mapping[str, object]:
        """Return the answer that is complete."""

    def opening(self, reply: Reply) -> Sequence[bytes]:
        """Return the events before the first text."""

    def piece(self, reply: Reply, update: Update) -> Sequence[bytes]:
        """Return the events of what came."""

    def closing(self, reply: Reply) -> Sequence[bytes]:
        """Return the events after the last text."""

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """Return the events of an answer that ends wrongly."""


def service_of(request: Request) -> Service:
    """Return the server's service."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def asker_of(request: Request) -> Asker:
    """Return who sent a request; the gate has let it in."""
    return Asker(
        tenant=request.scope["astraea.tenant"],
        request_id=request.scope["astraea.request_id"],
        headers={name.lower(): value for name, value in request.headers.items()},
    )


def sampling_of(asked: AskedSampling, *, logprobs: int | None) -> Sampling:
    """Return how to draw tokens; a temperature that is not given is 1, as these APIs have it."""
    return Sampling(
        temperature=1.0 if asked.temperature is None else float(asked.temperature),
        top_k=0 if asked.top_k in {None, _TOP_K_ALL} else int(asked.top_k or 0),
        top_p=1.0 if asked.top_p is None else float(asked.top_p),
        min_p=float(asked.min_p or 0),
        repetition_penalty=1.0 if asked.repetition_penalty is None else float(asked.repetition_penalty),
        presence_penalty=float(asked.presence_penalty or 0),
        frequency_penalty=float(asked.frequency_penalty or 0),
        seed=None if asked.seed is None else asked.seed % (1 << 64),
        logprobs=logprobs,
    )


async def answer(request: Request, reply: Reply, form: Form, *, stream: bool, ignored: Sequence[str] = ()) -> Response:
    """Return the answer to a request, whole or as a stream; raise :class:`ApiError` where there is none."""
    settings = service_of(request).settings
    headers = dict(reply.headers)
    if ignored:
        headers[IGNORED_HEADER] = ", ".join(ignored)
    if not stream:
        await unless_left(request, reply.finished(), reply.cancel)
        # Nobody reads what a client that left is answered.
        content = form.whole(reply) if reply.is_over and reply.error() is None else {}
        return JSONResponse(content, headers=headers)
    try:
        await reply.begun(_BEGIN_WAIT_S)
    except (ApiError, asyncio.CancelledError):
        reply.cancel()
        raise
    events = _events(reply, form, settings.keep_alive_s)
    return EventStream(events, headers=headers, on_leave=reply.cancel, send_timeout_s=settings.send_timeout_s)


async def _events(reply: Reply, form: Form, keep_alive_s: float) -> AsyncIterator[bytes]:
    yield b"".join(form.opening(reply))
    try:
        async for updates in reply.updates(keep_alive_s):
            if not updates:
                yield KEEP_ALIVE
                continue
            pieces: list[bytes] = []
            for update in updates:
                pieces += form.piece(reply, update)
            if pieces:
                yield b"".join(pieces)
        yield b"".join(form.closing(reply))
    except ApiError as error:
        yield b"".join(form.failure(error))
