"""What a request of the responses API may hold, and the conversation that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from astraea.server.refusals import ApiError
from astraea.server.schema import Asked, AskedSampling, Count, Message, chosen_tool

__all__ = ["RESPONSES_REFUSED", "ResponsesRequest", "messages_of"]

RESPONSES_REFUSED: Mapping[str, str] = {
    "background": "answers are waited for",
    "conversation": "use previous_response_id",
    "prompt": "no prompts are stored here",
    "text": "nothing is decoded by a grammar",
    "max_tool_calls": "the server calls no tools",
    "n": "an input has one answer",
    "logit_bias": "single tokens cannot be made more likely",
}
"""Fields that would change the answer, and why they cannot be had."""

_Id = Annotated[str, Field(min_length=1, max_length=256)]


class _Item(Asked):
    type: Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[dict[str, Any]] | None = None
    call_id: _Id | None = None
    name: _Id | None = None
    arguments: str | None = None
    output: str | list[dict[str, Any]] | None = None


class _Tool(Asked):
    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ResponsesRequest(AskedSampling):
    """``POST /v1/responses``."""

    model: str | None = None
    input: str | Annotated[list[_Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: _Id | None = None
    max_output_tokens: Count | None = None
    tools: Annotated[list[_Tool], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    stream: bool | None = None
    store: bool | None = None

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools that the model is shown."""
        if self.tool_choice == "none":
            return []
        return [
            {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}
            for tool in self.tools or ()
        ]

    @property
    def must_call(self) -> str | None:
        """The tool that the answer has to call; raises :class:`ApiError` for a choice that it cannot be held to."""
        return chosen_tool(self.tool_choice, [tool.name for tool in self.tools or ()])


def messages_of(asked: ResponsesRequest, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the conversation so far as messages of a chat: instructions, what was ``before``, and the new input."""
    messages: list[dict[str, Any]] = []
    if asked.instructions is not None:
        messages.append({"role": "system", "content": asked.instructions})
    messages += [dict(message) for message in before]
    if isinstance(asked.input, str):
        messages.append({"role": "user", "content": asked.input})
        return messages
    for item in asked.input:
        _append(messages, item)
    return messages


def _append(messages: list[dict[str, Any]], item: _Item) -> None:
    match item.type:
        case "message":
            if item.role is None:
                raise ApiError(400, "a message needs a role", code="invalid_value", param="input")
            messages.append(_plain(item.role, item.content))
        case "function_call":
            if item.call_id is None or item.name is None:
                raise ApiError(400, "a function call needs its call_id and name", code="invalid_value", param="input")
            function = {"name": item.name, "arguments": item.arguments or "{}"}
            call = {"id": item.call_id, "type": "function", "function": function}
            # Calls that were made together are one message, and so are the words before them.
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            messages[-1].setdefault("tool_calls", []).append(call)
        case "function_call_output":
            if item.call_id is None:
                raise ApiError(400, "a function's output needs its call_id", code="invalid_value", param="input")
            messages.append({**_plain("tool", item.output), "tool_call_id": item.call_id})
        case "item_reference":
            raise ApiError(400, "items are not stored by themselves", code="unsupported_content", param="input")
        case "reasoning":
            pass  # the models here have none of their own, and are not shown that of others


def _plain(role: str, content: object) -> dict[str, Any]:
    return Message.model_validate({"role": role, "content": content}).plain()
