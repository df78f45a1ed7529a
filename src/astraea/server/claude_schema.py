"""What a request in Anthropic's form may hold, and the conversation that it stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from astraea.server.refusals import ApiError
from astraea.server.schema import Asked, Count

__all__ = ["CLAUDE_REFUSED", "ClaudeRequest", "CountRequest", "chat_messages", "offered_tools"]

CLAUDE_REFUSED: Mapping[str, str] = {
    "mcp_servers": "the server calls nobody",
    "container": "no code is run",
    "output_format": "nothing is decoded by a grammar",
}
"""Fields that would change the answer, and why they cannot be had."""

_Id = Annotated[str, Field(min_length=1, max_length=256)]
_UNSEEN = frozenset({"thinking", "redacted_thinking"})
"""Blocks that a model here is not shown: it did not write them."""


class _Block(Asked):
    type: str
    text: str | None = None
    id: _Id | None = None
    name: _Id | None = None
    input: dict[str, Any] | None = None
    tool_use_id: _Id | None = None
    content: str | list[_Block] | None = None


class _Message(Asked):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(Asked):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class _Choice(Asked):
    type: str


class CountRequest(Asked):
    """``POST /v1/messages/count_tokens``."""

    model: str | None = None
    messages: Annotated[list[_Message], Field(min_length=1)]
    system: str | list[_Block] | None = None
    tools: Annotated[list[_Tool], Field(max_length=512)] | None = None
    tool_choice: _Choice | None = None


class ClaudeRequest(CountRequest):
    """``POST /v1/messages``."""

    max_tokens: Count
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=(1 << 63) - 1)] | None = None
    stop_sequences: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=16)] | None
    ) = None
    stream: bool | None = None


def offered_tools(asked: CountRequest) -> list[dict[str, Any]]:
    """Return the tools that the model is shown; raise :class:`ApiError` for a choice that it cannot be held to."""
    choice = "auto" if asked.tool_choice is None else asked.tool_choice.type
    if choice not in {"auto", "none"}:
        sentence = 'tool_choice may be "auto" or "none": nothing is decoded by a grammar'
        raise ApiError(400, sentence, code="unsupported_value", param="tool_choice")
    if choice == "none":
        return []
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "parameters": tool.input_schema or {"type": "object", "properties": {}},
            },
        }
        for tool in asked.tools or ()
    ]


def chat_messages(asked: CountRequest) -> list[dict[str, Any]]:
    """Return the conversation as messages of a chat: a result of a tool is a message of its own."""
    messages: list[dict[str, Any]] = []
    if asked.system:
        messages.append({"role": "system", "content": _text(asked.system)})
    for message in asked.messages:
        if isinstance(message.content, str):
            messages.append({"role": message.role, "content": message.content})
        elif message.role == "assistant":
            messages.append(_assistant(message.content))
        else:
            messages += _user(message.role, message.content)
    return messages


def _assistant(blocks: list[_Block]) -> dict[str, Any]:
    words = [block for block in blocks if block.type != "tool_use"]
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json.dumps(block.input or {})},
        }
        for block in blocks
        if block.type == "tool_use"
    ]
    return {"role": "assistant", "content": _text(words), **({"tool_calls": calls} if calls else {})}


def _user(role: str, blocks: list[_Block]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    words: list[_Block] = []
    for block in blocks:
        if block.type == "tool_result":
            messages.append({"role": "tool", "content": _text(block.content or ""), "tool_call_id": block.tool_use_id})
        else:
            words.append(block)
    if words or not messages:
        messages.append({"role": role, "content": _text(words)})
    return messages


def _text(content: str | list[_Block]) -> str:
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text" and block.type not in _UNSEEN:
            raise ApiError(400, "only text is supported as content", code="unsupported_content", param="messages")
    return "".join(block.text or "" for block in content if block.type == "text")
