"""``POST /v1/completions``: a text goes on, whole and streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from astraea.executor.requests import Token
from astraea.server.accepted import COMPLETION_REFUSED, read, without_effect
from astraea.server.answering import answer, asker_of, sampling_of, service_of
from astraea.server.chat import check_model
from astraea.server.reading import read_object
from astraea.server.refusals import ApiError
from astraea.server.rendering import Renderer
from astraea.server.replies import Choice, Reply, Update, without_nul
from astraea.server.schema import CompletionRequest
from astraea.server.service import Call
from astraea.server.streaming import event

__all__ = ["CompletionForm", "completions"]

_OUTPUT_TOKENS_DEFAULT = 16
"""As this API has it."""


async def completions(request: Request) -> Response:
    """Go on with a text, or with tokens."""
    service, body = service_of(request), await read_object(request)
    asked = read(CompletionRequest, body, COMPLETION_REFUSED)
    check_model(asked.model, service.settings.model_name)
    prompt = await service.renderer.text(asked.prompt) if isinstance(asked.prompt, str) else asked.prompt
    call = Call(
        prompt=prompt,
        n=asked.n or 1,
        max_tokens=asked.max_tokens,
        max_tokens_default=_OUTPUT_TOKENS_DEFAULT,
        min_tokens=asked.min_tokens or 0,
        ignore_eos=bool(asked.ignore_eos),
        stops=asked.stops,
        sampling=sampling_of(asked, logprobs=asked.logprobs),
    )
    echo = ""
    if asked.echo:
        echo = asked.prompt if isinstance(asked.prompt, str) else await service.renderer.decode(prompt)
    reply = await service.begin(call, body, asker_of(request))
    form = CompletionForm(service.settings.model_name, service.renderer, echo, usage_apart=asked.usage_apart)
    ignored = without_effect(CompletionRequest, body, COMPLETION_REFUSED)
    return await answer(request, reply, form, stream=bool(asked.stream), ignored=ignored)


@frozen
class CompletionForm:
    """Answers as the completions API writes them."""

    model: str
    renderer: Renderer
    echo: str
    """The prompt's text, where it is to stand before the answer."""
    usage_apart: bool

    def whole(self, reply: Reply) -> Mapping[str, object]:
        """Return the ``text_completion``."""
        choices = [
            self._choice(choice, self.echo + without_nul(choice.answer.text), choice.finish, self._logprobs(choice))
            for choice in reply.choices
        ]
        return {**self._head(reply), "choices": choices, "usage": reply.usage()}

    def opening(self, reply: Reply) -> Sequence[bytes]:
        """Return the prompt, where it is wanted."""
        return [self._chunk(reply, choice, self.echo) for choice in reply.choices] if self.echo else []

    def piece(self, reply: Reply, update: Update) -> Sequence[bytes]:
        """Return the chunk of what came of a choice."""
        choice = update.choice
        logprobs = self._told(update.tokens) if choice.wants_logprobs else None
        if not update.is_end:
            return [self._chunk(reply, choice, update.text, logprobs=logprobs)] if update.text or logprobs else []
        with_usage = not self.usage_apart and all(other.told for other in reply.choices)
        usage = reply.usage() if with_usage else None
        return [self._chunk(reply, choice, update.text, finish=choice.finish, logprobs=logprobs, usage=usage)]

    def closing(self, reply: Reply) -> Sequence[bytes]:
        """Return the usage, where it was asked for in a chunk of its own, and the end."""
        usage = {**self._head(reply), "choices": [], "usage": reply.usage()}
        return [*([event(usage)] if self.usage_apart else []), event("[DONE]")]

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """Return the error; what follows it is the end of the connection and no ``[DONE]``."""
        return [event(error.as_json())]

    def _head(self, reply: Reply) -> dict[str, Any]:
        return {
            "id": f"cmpl-{reply.reply_id}",
            "object": "text_completion",
            "created": reply.created_s,
            "model": self.model,
        }

    @staticmethod
    def _choice(
        choice: Choice, text: str, finish: str | None, logprobs: Mapping[str, object] | None
    ) -> dict[str, object]:
        return {"index": choice.index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _chunk(
        self,
        reply: Reply,
        choice: Choice,
        text: str,
        *,
        finish: str | None = None,
        logprobs: Mapping[str, object] | None = None,
        usage: Mapping[str, object] | None = None,
    ) -> bytes:
        chunk = {**self._head(reply), "choices": [self._choice(choice, text, finish, logprobs)]}
        if usage is not None or self.usage_apart:
            chunk["usage"] = usage
        return event(chunk)

    def _logprobs(self, choice: Choice) -> Mapping[str, object] | None:
        return self._told(choice.tokens) if choice.wants_logprobs else None

    def _told(self, tokens: Sequence[Token]) -> dict[str, object]:
        return {
            "tokens": [self.renderer.piece(one.token) for one in tokens],
            "token_logprobs": [one.logprob for one in tokens],
            "top_logprobs": [
                {self.renderer.piece(token): logprob for token, logprob in one.top_logprobs} for one in tokens
            ],
        }
