"""Finds the tool calls in what a model said, in the two forms that open models use.

Hermes: ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, any number of them among other text, or a list of
such objects in one. Llama: the whole answer is ``{"name": ..., "parameters": {...}}``, several with semicolons between,
perhaps behind ``<|python_tag|>``. Only a call of a tool that was offered is one; all else is text. Everything is found
in one pass, without patterns.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from json import JSONDecoder

from attrs import field, frozen

__all__ = ["CALL_BEGIN", "CALL_END", "Said", "ToolCall", "ToolText", "call_begun", "find_calls", "the_call"]

CALL_BEGIN, CALL_END = "<tool_call>", "</tool_call>"
_PYTHON_TAG = "<|python_tag|>"
_CALLS_MAX = 64
"""Of one answer; so many marks are looked at, for each that is none costs a reading of what follows."""
_DECODER = JSONDecoder()


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


@frozen(slots=True)
class ToolCall:
    """One call that the model made."""

    name: str
    arguments: str
    """JSON text of an object; of a call that the model had to make, whatever it said."""
    call_id: str = field(factory=_call_id)

    def as_json(self) -> dict[str, object]:
        """Return it as a message holds it."""
        return {"id": self.call_id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@frozen(slots=True)
class Said:
    """What an answer comes to."""

    content: str
    calls: tuple[ToolCall, ...] = ()

    def as_message(self) -> dict[str, object]:
        """Return it as a message of the chat completions API."""
        message: dict[str, object] = {"role": "assistant", "content": self.content}
        if self.calls:
            message["content"] = self.content or None
            message["tool_calls"] = [call.as_json() for call in self.calls]
        return message


def find_calls(text: str, tools: Collection[str]) -> Said:
    """Return the calls of the named tools in an answer, and the text around them."""
    if not tools:
        return Said(text)
    bare = text.strip().removeprefix(_PYTHON_TAG).lstrip()
    if bare.startswith("{"):
        calls = _bare_calls(bare, tools)
        return Said("", calls) if calls else Said(text)
    return _tagged_calls(text, tools)


def call_begun(name: str, *, is_tagged: bool) -> str:
    """Return the beginning of a call of a tool, up to its arguments: what a model goes on from that has to call it."""
    if is_tagged:
        return f'{CALL_BEGIN}\n{{"name": {json.dumps(name)}, "arguments": '
    return f'{{"name": {json.dumps(name)}, "parameters": '


def the_call(name: str, text: str) -> Said:
    """Return the call that a model had to make, from what it said after its beginning.

    Nothing holds a model to JSON: where that is no object, it is the arguments as it is, and the caller's to judge.
    """
    try:
        arguments, _ = _DECODER.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, Mapping):
        return Said("", (ToolCall(name, json.dumps(arguments, ensure_ascii=False)),))
    return Said("", (ToolCall(name, text.partition(CALL_END)[0].strip()),))


def _tagged_calls(text: str, tools: Collection[str]) -> Said:
    calls: list[ToolCall] = []
    kept: list[str] = []
    at = tries = 0
    while (begin := text.find(CALL_BEGIN, at)) >= 0 and tries < _CALLS_MAX:
        tries += 1
        found, end = _calls_at(text, begin + len(CALL_BEGIN), tools)
        if not found:
            kept.append(text[at : begin + len(CALL_BEGIN)])
            at = begin + len(CALL_BEGIN)
            continue
        calls += found
        kept.append(text[at:begin])
        at = _skip(text, end, CALL_END)
    if not calls:
        return Said(text)
    kept.append(text[at:])
    return Said("".join(kept).strip(), tuple(calls[:_CALLS_MAX]))


def _bare_calls(text: str, tools: Collection[str]) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    at = 0
    while at < len(text) and len(calls) < _CALLS_MAX:
        found, at = _calls_at(text, at, tools)
        if not found:
            return ()
        calls += found
        at = _skip(text, at, ";")
    return tuple(calls)


def _skip(text: str, at: int, mark: str) -> int:
    """Return the place behind white space and ``mark``, if it stands there."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at + len(mark) if text.startswith(mark, at) else at


def _calls_at(text: str, at: int, tools: Collection[str]) -> tuple[tuple[ToolCall, ...], int]:
    """Return the calls whose JSON, an object or a list of them, begins at a place, and where it ends."""
    while at < len(text) and text[at].isspace():
        at += 1
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return (), at
    calls = [_call(one, tools) for one in (value if isinstance(value, list) else [value])[:_CALLS_MAX]]
    found = tuple(call for call in calls if call is not None)
    return (found, end) if len(found) == len(calls) else ((), at)


def _call(value: object, tools: Collection[str]) -> ToolCall | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or value["name"] not in tools:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _as_object(arguments)
    if not isinstance(arguments, Mapping):
        return None
    return ToolCall(value["name"], json.dumps(arguments, ensure_ascii=False))


def _as_object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class ToolText:
    """The text of an answer as it may be told while it comes: what could be a tool call is held back."""

    def __init__(self, *, may_call: bool, must_call: bool = False) -> None:
        self._may_call = may_call or must_call
        self._text = ""
        self._told = 0
        self._held = must_call

    def push(self, text: str) -> str:
        """Take a piece of text; return what is no call for certain."""
        self._text += text
        if not self._may_call:
            self._told = len(self._text)
            return text
        if self._held:
            return ""
        begin = self._text.lstrip()
        if not begin or begin.startswith(("{", _PYTHON_TAG)) or _PYTHON_TAG.startswith(begin):
            return ""
        at = self._text.find(CALL_BEGIN, self._told)
        if at >= 0:
            self._held = True
        else:
            at = len(self._text) - _overlap(self._text, CALL_BEGIN)
        told, self._told = self._text[self._told : at], max(at, self._told)
        return told

    def finish(self, said: Said) -> str:
        """Return what is left of the content, now that it is known what was said."""
        if said.calls:
            # What stands around the calls is stripped; of that, what was told is told.
            told = self._text[: self._told].lstrip()
            return said.content[len(told) :] if said.content.startswith(told.rstrip()) else ""
        return self._text[self._told :]


def _overlap(text: str, mark: str) -> int:
    for length in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
