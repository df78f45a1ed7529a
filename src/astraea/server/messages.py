"""The essence of a chat message: what stays the same when a client sends an answer of ours back as history.

Clients trim text, cut content into parts, write a tool call's arguments anew, drop what we thought on the way. They
keep the role, the words, and the ids of tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

__all__ = ["Message", "essence", "is_answer", "is_instruction"]

Message: TypeAlias = Mapping[str, object]
"""A message in the form of the chat completions API."""


def is_answer(message: Message) -> bool:
    """Tell whether the message is a model's."""
    return message.get("role") == "assistant"


def is_instruction(message: Message) -> bool:
    """Tell whether the message is the application's own: clients put the time of day into these."""
    return message.get("role") in {"system", "developer"}


def essence(message: Message) -> bytes:
    """Return what identifies a message; of any JSON object, without an error."""
    calls = _items(message.get("tool_calls"))
    named = [call.get("id") for call in calls if isinstance(call, Mapping)]
    # An id of ours is random and says which answer this is, whatever became of the words around it.
    words = "" if named and all(named) else _words(message.get("content")).strip()
    parts = [message.get("role"), words, [_call(call) for call in calls], message.get("tool_call_id")]
    return _written(parts)


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _words(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in _items(content)]
    if isinstance(content, list | tuple) and all(isinstance(text, str) for text in texts):
        return "".join(map(str, texts))
    return _written(content).decode()


def _call(call: object) -> object:
    if not isinstance(call, Mapping):
        return call
    function = call.get("function")
    if not isinstance(function, Mapping):
        return [call.get("id"), function]
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return [call.get("id"), function.get("name"), arguments]


def _written(value: object) -> bytes:
    """Return JSON text that is the same for equal values; what has none is named by its type."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr).encode()
    except (ValueError, TypeError, RecursionError):
        return type(value).__name__.encode()
