"""How the responses API writes answers: items of output, and a numbered event for each thing that happens to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from astraea.server.refusals import ApiError
from astraea.server.replies import Choice, Reply, Update
from astraea.server.responses_schema import ResponsesRequest
from astraea.server.streaming import event
from astraea.server.tool_calls import Said

__all__ = ["ResponsesForm"]


@define
class ResponsesForm:
    """Answers to one request."""

    model: str
    asked: ResponsesRequest
    _events: int = 0
    _text: str = ""
    _began_text: bool = False

    @staticmethod
    def answer_id(reply: Reply) -> str:
        """Return the id of the answer, which is random."""
        return f"resp_{reply.reply_id}"

    def whole(self, reply: Reply) -> Mapping[str, object]:
        """Return the ``response`` that is complete."""
        (choice,) = reply.choices
        cut = choice.finish == "length"
        return self._response(
            reply,
            "incomplete" if cut else "completed",
            output=_items(reply, choice.content),
            usage=_usage(reply),
            incomplete={"reason": "max_output_tokens"} if cut else None,
        )

    def opening(self, reply: Reply) -> Sequence[bytes]:
        """Return the events that say that the answer has begun."""
        begun = self._response(reply, "in_progress", output=[], usage=None)
        return [
            self._event("response.created", response=begun),
            self._event("response.in_progress", response=begun),
        ]

    def piece(self, reply: Reply, update: Update) -> Sequence[bytes]:
        """Return the events of what came."""
        events = []
        if update.text:
            if not self._began_text:
                self._began_text = True
                events += self._text_begins(reply)
            self._text += update.text
            events.append(
                self._event(
                    "response.output_text.delta", **_place(reply), content_index=0, delta=update.text, logprobs=[]
                )
            )
        if update.is_end:
            if self._began_text:
                events += self._text_ends(reply)
            events += self._calls(reply, update.choice)
        return events

    def closing(self, reply: Reply) -> Sequence[bytes]:
        """Return the event with the answer that is complete."""
        whole = self.whole(reply)
        return [self._event(f"response.{whole['status']}", response=whole)]

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """Return the error; it is the last event."""
        return [self._event("error", code=error.code, message=error.sentence, param=error.param)]

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._events = self._events, self._events + 1
        return event({"type": kind, "sequence_number": number, **fields}, kind)

    def _text_begins(self, reply: Reply) -> list[bytes]:
        item = _message(reply, "", "in_progress") | {"content": []}
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **_place(reply), content_index=0, part=_part("")),
        ]

    def _text_ends(self, reply: Reply) -> list[bytes]:
        place, text = _place(reply), self._text
        item = _message(reply, text, "completed")
        return [
            self._event("response.output_text.done", **place, content_index=0, text=text, logprobs=[]),
            self._event("response.content_part.done", **place, content_index=0, part=_part(text)),
            self._event("response.output_item.done", output_index=0, item=item),
        ]

    def _calls(self, reply: Reply, choice: Choice) -> list[bytes]:
        events = []
        items = [item for item in _items(reply, choice.content) if item["type"] == "function_call"]
        for index, item in enumerate(items, start=int(self._began_text)):
            place = {"item_id": item["id"], "output_index": index}
            begun = {**item, "arguments": "", "status": "in_progress"}
            arguments = item["arguments"]
            events += [
                self._event("response.output_item.added", output_index=index, item=begun),
                self._event("response.function_call_arguments.delta", **place, delta=arguments),
                self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=arguments),
                self._event("response.output_item.done", output_index=index, item=item),
            ]
        return events

    def _response(
        self,
        reply: Reply,
        status: str,
        *,
        output: list[dict[str, Any]],
        usage: Mapping[str, object] | None,
        incomplete: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        asked = self.asked
        return {
            "id": self.answer_id(reply),
            "object": "response",
            "created_at": reply.created_s,
            "status": status,
            "model": self.model,
            "output": output,
            "usage": usage,
            "error": None,
            "incomplete_details": incomplete,
            "instructions": asked.instructions,
            "previous_response_id": asked.previous_response_id,
            "max_output_tokens": asked.max_output_tokens,
            "temperature": 1.0 if asked.temperature is None else asked.temperature,
            "top_p": 1.0 if asked.top_p is None else asked.top_p,
            "tools": [tool.model_dump() for tool in asked.tools or ()],
            "tool_choice": asked.tool_choice or "auto",
            "parallel_tool_calls": True,
            "store": asked.store is not False,
            "metadata": {},
        }


def _place(reply: Reply) -> dict[str, Any]:
    return {"item_id": f"msg_{reply.reply_id}", "output_index": 0}


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(reply: Reply, text: str, status: str) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.reply_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [_part(text)],
    }


def _items(reply: Reply, said: Said) -> list[dict[str, Any]]:
    items = [_message(reply, said.content, "completed")] if said.content or not said.calls else []
    return items + [
        {
            "id": f"fc_{call.call_id}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in said.calls
    ]


def _usage(reply: Reply) -> dict[str, object]:
    usage = reply.usage()
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
