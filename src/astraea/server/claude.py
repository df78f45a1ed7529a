"""``POST /v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's form, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from astraea.executor.sampling import Sampling
from astraea.server.accepted import read, without_effect
from astraea.server.answering import answer, asker_of, service_of
from astraea.server.claude_schema import CLAUDE_REFUSED, ClaudeRequest, CountRequest, chat_messages, offered_tools
from astraea.server.reading import read_object
from astraea.server.refusals import ApiError
from astraea.server.replies import Choice, Reply, Update
from astraea.server.service import Call
from astraea.server.streaming import event

__all__ = ["ClaudeForm", "count_tokens", "messages"]


async def messages(request: Request) -> Response:
    """Answer a conversation; the model's name is taken as it comes, for these clients know only their own."""
    service, body = service_of(request), await read_object(request)
    asked = read(ClaudeRequest, body, CLAUDE_REFUSED)
    call = Call(
        messages=chat_messages(asked),
        tools=offered_tools(asked),
        max_tokens=asked.max_tokens,
        stops=tuple(asked.stop_sequences or ()),
        sampling=Sampling(
            temperature=1.0 if asked.temperature is None else float(asked.temperature),
            top_p=1.0 if asked.top_p is None else float(asked.top_p),
            top_k=asked.top_k or 0,
        ),
    )
    reply = await service.begin(call, body, asker_of(request), may_shorten=True)
    form = ClaudeForm(asked.model or service.settings.model_name)
    ignored = without_effect(ClaudeRequest, body, CLAUDE_REFUSED)
    return await answer(request, reply, form, stream=bool(asked.stream), ignored=ignored)


async def count_tokens(request: Request) -> Response:
    """Tell how many tokens a conversation has."""
    asked = read(CountRequest, await read_object(request), CLAUDE_REFUSED)
    tokens = await service_of(request).renderer.chat(chat_messages(asked), offered_tools(asked))
    return JSONResponse({"input_tokens": len(tokens)})


@define
class ClaudeForm:
    """Answers to one request."""

    model: str
    _began_text: bool = False

    def whole(self, reply: Reply) -> Mapping[str, object]:
        """Return the ``message`` that is complete."""
        (choice,) = reply.choices
        said = choice.content
        blocks: list[dict[str, object]] = []
        if said.content or not said.calls:
            blocks.append({"type": "text", "text": said.content})
        blocks += [_use(choice, i) | {"input": json.loads(call.arguments)} for i, call in enumerate(said.calls)]
        return self._message(reply, blocks, _usage(reply)) | _stop(choice)

    def opening(self, reply: Reply) -> Sequence[bytes]:
        """Return the event that says that a message begins."""
        begun = self._message(reply, [], _usage(reply) | {"output_tokens": 0})
        begun |= {"stop_reason": None, "stop_sequence": None}
        return [_event("message_start", message=begun)]

    def piece(self, reply: Reply, update: Update) -> Sequence[bytes]:
        """Return the events of what came."""
        events = []
        if update.text and not self._began_text:
            self._began_text = True
            events.append(_event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
        if update.text:
            events.append(_event("content_block_delta", index=0, delta={"type": "text_delta", "text": update.text}))
        if update.is_end:
            if self._began_text:
                events.append(_event("content_block_stop", index=0))
            for i, call in enumerate(update.choice.content.calls):
                index = i + int(self._began_text)
                delta = {"type": "input_json_delta", "partial_json": call.arguments}
                begun = _use(update.choice, i) | {"input": {}}
                events += [
                    _event("content_block_start", index=index, content_block=begun),
                    _event("content_block_delta", index=index, delta=delta),
                    _event("content_block_stop", index=index),
                ]
        return events

    @staticmethod
    def closing(reply: Reply) -> Sequence[bytes]:
        """Return why it ended, its usage, and the end."""
        (choice,) = reply.choices
        return [_event("message_delta", delta=_stop(choice), usage=_usage(reply)), _event("message_stop")]

    @staticmethod
    def failure(error: ApiError) -> Sequence[bytes]:
        """Return the error; it is the last event."""
        return [event(error.as_anthropic_json(), "error")]

    def _message(self, reply: Reply, blocks: list[dict[str, object]], usage: Mapping[str, object]) -> dict[str, object]:
        return {
            "id": f"msg_{reply.reply_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": blocks,
            "usage": usage,
        }


def _event(kind: str, **fields: object) -> bytes:
    return event({"type": kind, **fields}, kind)


def _use(choice: Choice, index: int) -> dict[str, object]:
    call = choice.content.calls[index]
    return {"type": "tool_use", "id": call.call_id, "name": call.name}


def _stop(choice: Choice) -> dict[str, object]:
    sequence = choice.answer.stopped_by or None
    reason = {"tool_calls": "tool_use", "length": "max_tokens"}.get(choice.finish, "end_turn")
    return {"stop_reason": "stop_sequence" if sequence and reason == "end_turn" else reason, "stop_sequence": sequence}


def _usage(reply: Reply) -> dict[str, Any]:
    cached = reply.choices[0].stream.cached_tokens
    usage = reply.usage()
    return {
        "input_tokens": len(reply.prompt) - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage["completion_tokens"],
    }
