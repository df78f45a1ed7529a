"""What a request of the chat and of the text completions API may hold, field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from astraea.server.refusals import ApiError

__all__ = [
    "N_MAX",
    "Asked",
    "AskedSampling",
    "ChatRequest",
    "CompletionRequest",
    "Count",
    "Message",
    "TokenizeRequest",
    "Tool",
    "chosen_tool",
]

_INTEGER_MAX = (1 << 63) - 1
N_MAX = 16
"""Answers to one request."""
_STOPS_MAX = 16
_STOP_CHARS_MAX = 256
_TOP_LOGPROBS_MAX = 20

Count = Annotated[int, Field(ge=1, le=_INTEGER_MAX)]
_Stop = Annotated[str, Field(min_length=1, max_length=_STOP_CHARS_MAX)]


class Asked(BaseModel):
    """Any part of a body: values are of the type that is named, and what is not named is left to others."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


class AskedSampling(Asked):
    """How the next tokens are drawn, and when an answer ends."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=_INTEGER_MAX)] | None = None
    """0 and -1 are for all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-_INTEGER_MAX, le=_INTEGER_MAX)] | None = None
    n: Annotated[int, Field(ge=1, le=N_MAX)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=_STOPS_MAX)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0, le=_INTEGER_MAX)] | None = None
    max_tokens: Count | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class _StreamOptions(Asked):
    include_usage: bool | None = None


class _Streamed(AskedSampling):
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    @property
    def usage_apart(self) -> bool:
        """Whether the usage comes in a chunk of its own, behind the last of the answer."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class _Part(Asked):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Function(Asked):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str = "{}"


class _Call(Asked):
    id: Annotated[str, Field(max_length=256)] = ""
    type: Literal["function"] = "function"
    function: _Function


class Message(Asked):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None

    def plain(self) -> dict[str, Any]:
        """Return it with its content as one string; raise :class:`ApiError` for parts that are no text."""
        shown: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": self._text(),
        }
        if self.tool_calls:
            shown["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.tool_call_id is not None:
            shown["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            shown["name"] = self.name
        return shown

    def _text(self) -> str:
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        texts = []
        for part in self.content:
            if part.type not in {"text", "input_text", "output_text", "refusal"}:
                raise ApiError(400, "only text is supported as content", code="unsupported_content", param="messages")
            texts.append((part.text if part.type != "refusal" else part.refusal) or "")
        return "".join(texts)


def chosen_tool(choice: object, names: Sequence[str]) -> str | None:
    """Return the tool of these that an answer has to call, ``None`` where it may say what it likes.

    Raises :class:`ApiError` for a choice that no model can be held to without a grammar.
    """
    match choice:
        case None | "auto" | "none":
            return None
        case "required" if len(set(names)) == 1:
            return names[0]
        case {"type": "function", "name": str(name)} if name in names:
            return name
    sentence = 'tool_choice may be "auto", "none", one of the tools, or "required" where there is one tool'
    raise ApiError(400, sentence, code="unsupported_value", param="tool_choice")


class _ToolFunction(Asked):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Asked):
    """A tool that the model may call."""

    type: Literal["function"]
    function: _ToolFunction

    def plain(self) -> dict[str, Any]:
        """Return it as templates want it."""
        return {"type": "function", "function": self.function.model_dump(exclude_none=True)}


class ChatRequest(_Streamed):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=_TOP_LOGPROBS_MAX)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools that the model is shown."""
        return [] if self.tool_choice == "none" else [tool.plain() for tool in self.tools or ()]

    @property
    def must_call(self) -> str | None:
        """The tool that the answer has to call; raises :class:`ApiError` for a choice that it cannot be held to."""
        choice: object = self.tool_choice
        if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
            choice = {"type": choice.get("type"), "name": choice["function"].get("name")}
        return chosen_tool(choice, [tool.function.name for tool in self.tools or ()])


class CompletionRequest(_Streamed):
    """``POST /v1/completions``."""

    prompt: Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=_TOP_LOGPROBS_MAX)] | None = None
    echo: bool | None = None


class TokenizeRequest(Asked):
    """``POST /tokenize``: a text, or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    return_token_strs: bool | None = None
