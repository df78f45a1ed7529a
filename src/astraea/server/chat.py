"""``POST /v1/chat/completions``, whole and streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from astraea.executor.requests import Token
from astraea.server.accepted import CHAT_REFUSED, read, without_effect
from astraea.server.answering import answer, asker_of, sampling_of, service_of
from astraea.server.reading import read_object
from astraea.server.refusals import ApiError
from astraea.server.rendering import Renderer
from astraea.server.replies import Choice, Reply, Update
from astraea.server.schema import ChatRequest
from astraea.server.service import Call
from astraea.server.streaming import event

__all__ = ["ChatForm", "chat", "check_model", "token_logprobs"]


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    service, body = service_of(request), await read_object(request)
    asked = read(ChatRequest, body, CHAT_REFUSED)
    check_model(asked.model, service.settings.model_name)
    if asked.top_logprobs and not asked.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs", code="invalid_value", param="top_logprobs")
    call = Call(
        messages=[message.plain() for message in asked.messages],
        tools=asked.offered,
        must_call=asked.must_call,
        n=asked.n or 1,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        min_tokens=asked.min_tokens or 0,
        ignore_eos=bool(asked.ignore_eos),
        stops=asked.stops,
        sampling=sampling_of(asked, logprobs=(asked.top_logprobs or 0) if asked.logprobs else None),
    )
    reply = await service.begin(call, body, asker_of(request))
    form = ChatForm(service.settings.model_name, service.renderer, usage_apart=asked.usage_apart)
    ignored = without_effect(ChatRequest, body, CHAT_REFUSED)
    return await answer(request, reply, form, stream=bool(asked.stream), ignored=ignored)


def check_model(asked: str | None, served: str) -> None:
    """Raise :class:`ApiError` where another model is asked for than the one that there is."""
    if asked is not None and asked != served:
        raise ApiError(404, f"the model here is {served}", code="model_not_found", param="model")


@frozen
class ChatForm:
    """Answers as the chat completions API writes them."""

    model: str
    renderer: Renderer
    usage_apart: bool

    def whole(self, reply: Reply) -> Mapping[str, object]:
        """Return the ``chat.completion``."""
        choices = [
            {
                "index": choice.index,
                "message": choice.content.as_message(),
                "logprobs": self._logprobs(choice),
                "finish_reason": choice.finish,
            }
            for choice in reply.choices
        ]
        return {**self._head(reply, "chat.completion"), "choices": choices, "usage": reply.usage()}

    def opening(self, reply: Reply) -> Sequence[bytes]:
        """Return the first chunk of each choice, which says whose words follow."""
        return [self._chunk(reply, choice, {"role": "assistant", "content": ""}) for choice in reply.choices]

    def piece(self, reply: Reply, update: Update) -> Sequence[bytes]:
        """Return the chunks of what came of a choice."""
        choice, chunks = update.choice, []
        logprobs = token_logprobs(self.renderer, update.tokens) if choice.wants_logprobs else None
        if update.text or logprobs:
            chunks.append(self._chunk(reply, choice, {"content": update.text}, logprobs=logprobs))
        if update.is_end:
            for index, call in enumerate(choice.content.calls):
                chunks.append(self._chunk(reply, choice, {"tool_calls": [{"index": index, **call.as_json()}]}))
            with_usage = not self.usage_apart and all(other.told for other in reply.choices)
            usage = reply.usage() if with_usage else None
            chunks.append(self._chunk(reply, choice, {}, finish=choice.finish, usage=usage))
        return chunks

    def closing(self, reply: Reply) -> Sequence[bytes]:
        """Return the usage, where it was asked for in a chunk of its own, and the end."""
        usage = {**self._head(reply, "chat.completion.chunk"), "choices": [], "usage": reply.usage()}
        return [*([event(usage)] if self.usage_apart else []), event("[DONE]")]

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """Return the error; what follows it is the end of the connection and no ``[DONE]``."""
        return [event(error.as_json())]

    def _head(self, reply: Reply, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{reply.reply_id}",
            "object": kind,
            "created": reply.created_s,
            "model": self.model,
        }

    def _chunk(
        self,
        reply: Reply,
        choice: Choice,
        delta: Mapping[str, object],
        *,
        finish: str | None = None,
        logprobs: Mapping[str, object] | None = None,
        usage: Mapping[str, object] | None = None,
    ) -> bytes:
        one = {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        chunk = {**self._head(reply, "chat.completion.chunk"), "choices": [one]}
        if usage is not None or self.usage_apart:
            chunk["usage"] = usage
        return event(chunk)

    def _logprobs(self, choice: Choice) -> Mapping[str, object] | None:
        return token_logprobs(self.renderer, choice.tokens) if choice.wants_logprobs else None


def token_logprobs(renderer: Renderer, tokens: Sequence[Token]) -> dict[str, object]:
    """Return the log-probabilities of tokens as a chat has them."""

    def named(token: int, logprob: float) -> dict[str, object]:
        text = renderer.piece(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    return {
        "content": [
            {**named(one.token, one.logprob or 0.0), "top_logprobs": [named(*most) for most in one.top_logprobs]}
            for one in tokens
        ],
        "refusal": None,
    }
