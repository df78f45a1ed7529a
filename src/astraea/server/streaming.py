"""How an answer goes out while its client may leave at any time, or take nothing.

A client that leaves is noticed in every phase, for its connection is listened to all along; one that takes nothing is
given up after a while. Either way ``on_leave`` is called, which cancels the turns.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["KEEP_ALIVE", "EventStream", "event", "unless_left"]

KEEP_ALIVE = b": still here\n\n"
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_LOOKS = 4
"""How often in its time a client is looked at that may take nothing."""
_Result = TypeVar("_Result")

log = structlog.get_logger()


def event(data: Mapping[str, object] | str, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    text = data if isinstance(data, str) else _JSON.encode(data)
    named = f"event: {name}\n" if name is not None else ""
    return f"{named}data: {text}\n\n".encode()


class EventStream(Response):
    """Server-sent events as they come."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        *,
        headers: Mapping[str, str],
        on_leave: Callable[[], None],
        send_timeout_s: float,
    ) -> None:
        super().__init__(headers={**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._on_leave = on_leave
        self._send_timeout_s = send_timeout_s
        self._sending_since_s: float | None = None
        """When what is being sent was handed over: a clock to look at costs less than a timer for each token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events, or stop where the client does."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        watching = asyncio.ensure_future(self._stuck())
        tasks = {sending, leaving, watching}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                log.info("a client that takes nothing was given up", path=scope["path"])
            elif sending.done():
                sending.result()
        except OSError:
            pass  # it left
        finally:
            self._on_leave()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await task

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await self._sent(send(start))
        async for one in self._events:
            await self._sent(send({"type": "http.response.body", "body": one, "more_body": True}))
        await self._sent(send({"type": "http.response.body", "body": b"", "more_body": False}))

    async def _sent(self, sent: Awaitable[None]) -> None:
        self._sending_since_s = time.monotonic()
        await sent
        self._sending_since_s = None

    async def _stuck(self) -> None:
        """Wait until something takes too long to be sent."""
        while True:
            await asyncio.sleep(self._send_timeout_s / _LOOKS)
            if self._sending_since_s is not None and time.monotonic() - self._sending_since_s >= self._send_timeout_s:
                return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_left(request: Request, wanted: Awaitable[_Result], on_leave: Callable[[], None]) -> _Result | None:
    """Return what is awaited, or ``None`` after ``on_leave`` where the client left before."""
    working = asyncio.ensure_future(wanted)
    leaving = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            on_leave()
        return working.result() if working.done() else None
    except asyncio.CancelledError:
        on_leave()
        raise
    finally:
        for task in (working, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
