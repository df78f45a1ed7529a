"""From what any of the APIs asks to turns of the engine: one place where identity, session, job and limits meet."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from attrs import Factory, define, evolve, field, frozen

from astraea.errors import UsageError
from astraea.events import Hints
from astraea.executor.model import LoadedModel
from astraea.executor.requests import TurnRequest
from astraea.executor.sampling import Sampling
from astraea.policy.limits import Limits
from astraea.server.bridge import EngineThread
from astraea.server.fields import FieldError
from astraea.server.hints import TurnHints, read_hints
from astraea.server.identity import Identity, identify
from astraea.server.metrics import Metrics
from astraea.server.placing import Placing, Sequel
from astraea.server.refusals import ApiError
from astraea.server.rendering import Renderer
from astraea.server.replies import Choice, Reply
from astraea.server.settings import Settings
from astraea.server.stored import StoredAnswers
from astraea.server.tool_calls import ToolText

__all__ = ["Asker", "Call", "Service"]

_OUTPUT_TOKENS_DEFAULT = 2_048
"""Of a chat whose client sets no bound: what is not produced is not paid for, but it is reserved in the worst case."""


@frozen(kw_only=True)
class Asker:
    """Who sent a request, and what its headers say."""

    tenant: str
    request_id: str
    headers: Mapping[str, str]


@frozen(kw_only=True)
class Call:
    """What is asked of the model, whatever API it came by."""

    messages: Sequence[dict[str, Any]] | None = None
    """The conversation, or ``None`` for a text."""
    prompt: Sequence[int] = ()
    """The text's tokens."""
    tools: Sequence[dict[str, Any]] = ()
    must_call: str | None = None
    """The tool that the answer has to call."""
    n: int = 1
    max_tokens: int | None = None
    max_tokens_default: int = _OUTPUT_TOKENS_DEFAULT
    min_tokens: int = 0
    ignore_eos: bool = False
    stops: tuple[str, ...] = ()
    sampling: Sampling = field(factory=Sampling)


@define(eq=False)
class Service:
    """Everything that the routes need."""

    settings: Settings
    loaded: LoadedModel
    limits: Limits
    context_tokens_max: int
    """Tokens of prompt and output together."""
    bridge: EngineThread
    renderer: Renderer
    placing: Placing
    metrics: Metrics
    stored: StoredAnswers = Factory(StoredAnswers)
    began_s: float = Factory(time.time)
    draining: bool = False

    async def begin(
        self,
        call: Call,
        body: Mapping[str, object],
        asker: Asker,
        *,
        session_id: str | None = None,
        may_shorten: bool = False,
    ) -> Reply:
        """Submit the turns of a request.

        ``session_id``: that of an earlier answer that it goes on with. ``may_shorten``: its client must name a bound
        and names the largest that it knows, so one beyond the context is cut to it.

        Raises :class:`ApiError` for what cannot be asked.
        """
        if not self.bridge.is_alive:
            raise ApiError(503, "the engine has failed and the server is stopping", code="engine_failed")
        prompt = await self._rendered(call)
        max_tokens = self._max_tokens(call, len(prompt), may_shorten=may_shorten)
        identity, hints = _identity(body, asker, max_tokens)
        sequel = self.placing.find(identity, call.messages, prompt, session_id=session_id)
        reply = Reply(self.bridge, prompt, _headers(sequel, identity, hints), int(time.time()))
        for index in range(call.n):
            self._submit(reply, call, index, max_tokens=max_tokens, sequel=sequel, hints=hints)
        return reply

    async def _rendered(self, call: Call) -> Sequence[int]:
        if call.messages is None:
            return call.prompt
        return await self.renderer.chat(call.messages, call.tools, must_call=call.must_call)

    def _max_tokens(self, call: Call, prompt_tokens: int, *, may_shorten: bool) -> int:
        room = min(self.context_tokens_max, self.limits.device_tokens) - prompt_tokens
        wanted = call.max_tokens or min(call.max_tokens_default, max(room, 1))
        if may_shorten:
            wanted = min(wanted, max(room, 1))
        if wanted > room:
            sentence = (
                f"the prompt has {prompt_tokens} tokens, and with up to {wanted} of the answer that is more than the "
                f"{self.context_tokens_max} that this model takes"
            )
            raise ApiError(400, sentence, code="context_length_exceeded", param="messages" if call.messages else None)
        if call.min_tokens > wanted:
            raise ApiError(
                400, "min_tokens must be at most as many as max_tokens", code="invalid_value", param="min_tokens"
            )
        return wanted

    def _submit(
        self, reply: Reply, call: Call, index: int, *, max_tokens: int, sequel: Sequel, hints: TurnHints
    ) -> None:
        placed = self.placing.place(sequel, first=index == 0)
        if placed.abandoned is not None:
            self.bridge.engine.cancel_job(placed.abandoned.tenant, placed.abandoned.job_id)
            self.metrics.job_abandoned()
        names = frozenset(str(tool["function"]["name"]) for tool in call.tools)
        wants_logprobs = call.sampling.logprobs is not None
        text = ToolText(may_call=bool(names), must_call=call.must_call is not None)
        choice = Choice(index, placed, names, text, wants_logprobs, call.must_call)
        reply.choices.append(choice)
        try:
            request = self._request(call, choice, reply.prompt, max_tokens, hints.for_core(placed.parent_job_id))
            choice.stream = self.bridge.submit(request, reply.news, lambda _stream: self._ended(reply, choice, sequel))
        except UsageError as error:
            reply.choices.remove(choice)
            reply.cancel()
            self.placing.never_ran(placed)
            raise ApiError(400, "the model does not have such tokens", code="invalid_value", param="prompt") from error

    def _request(self, call: Call, choice: Choice, prompt: Sequence[int], max_tokens: int, hints: Hints) -> TurnRequest:
        placed, sampling = choice.placed, call.sampling
        if sampling.seed is not None and choice.index:
            sampling = _reseeded(sampling, choice.index)
        return TurnRequest(
            tenant=placed.branch.session.tenant,
            session_id=placed.branch.session.session_id,
            job_id=placed.job.job_id,
            turn_id=f"turn-{secrets.token_hex(12)}",
            context_id=placed.branch.context_id,
            prompt=prompt,
            max_output_tokens=max_tokens,
            min_output_tokens=call.min_tokens,
            sampling=sampling,
            stop_tokens=frozenset() if call.ignore_eos else None,
            stop=call.stops,
            text=True,
            shared_prefix_tokens=len(prompt) if call.n > 1 else None,
            hints=hints,
            tool_of=choice.tool_of,
        )

    def _ended(self, reply: Reply, choice: Choice, sequel: Sequel) -> None:
        """Note the end of a turn, in the event loop, before its reader hears of it."""
        ended = self.placing.ended(sequel, choice)
        self.metrics.turn_ended(choice, len(reply.prompt))
        if ended.is_over:
            self.metrics.job_ended(ended.job, self.placing.now_us())
        if reply.is_over:
            if sequel.identity.final:
                self.close_session(sequel.session.tenant, sequel.session.session_id)
            for call in reply.after:
                call()

    def close_session(self, tenant: str, session_id: str) -> bool:
        """End a session with all that is live of it; return whether it was known."""
        known = self.placing.forget(tenant, session_id)
        if known:
            self.bridge.engine.close_session(tenant, session_id)
        return known

    def close_idle(self) -> int:
        """Close the sessions that sent nothing for too long, and those that are too many; return how many."""
        idle = self.placing.idle(round(self.settings.session_idle_s * 1_000_000))
        for session in idle:
            self.close_session(session.tenant, session.session_id)
        return len(idle)


def _identity(body: Mapping[str, object], asker: Asker, max_tokens: int) -> tuple[Identity, TurnHints]:
    try:
        identity = identify(body, asker.headers, tenant=asker.tenant)
        return identity, read_hints(body, asker.headers, output_tokens_max=max_tokens)
    except FieldError as error:
        raise ApiError(400, str(error), code="invalid_value", param=error.field) from error


def _headers(sequel: Sequel, identity: Identity, hints: TurnHints) -> dict[str, str]:
    headers = {"X-Astraea-Session": quote(sequel.session.session_id, safe="")}
    told = hints.header(final=identity.final)
    if told:
        headers["X-Astraea-Hints"] = told
    return headers


def _reseeded(sampling: Sampling, index: int) -> Sampling:
    assert sampling.seed is not None
    return evolve(sampling, seed=(sampling.seed + index) % (1 << 64))
