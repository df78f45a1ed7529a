"""From messages to tokens, by the model's own chat template.

A template without a branch for tools gets them in the system message, in the Hermes form, and sees calls and results as
text; so a model that was never shown tools by its maker can be asked to use some. Templates are the operator's, run in
the immutable sandbox of ``transformers`` and off the event loop.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from astraea.executor.model import LoadedModel
from astraea.server.refusals import ApiError
from astraea.server.tool_calls import CALL_BEGIN, CALL_END, call_begun

__all__ = ["Renderer", "with_tools_in_text"]

_PREAMBLE = """\
You can call functions. They are listed between <tools> and </tools>, one JSON object a line:
<tools>
{tools}
</tools>
To call one, answer with its name and its arguments as JSON, like this:
{begin}
{{"name": "the function", "arguments": {{"an argument": "its value"}}}}
{end}
What it returned then comes between <tool_response> and </tool_response>."""

_Result = TypeVar("_Result")

log = structlog.get_logger()


class Renderer:
    """The tokenizer of one model, for use by the event loop."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Take a tokenizer of its own: the engine's is for the engine's thread, and neither is made to be shared."""
        if loaded.tokenizer is None:
            raise ApiError(400, "this model has no tokenizer", code="no_tokenizer")
        self._tokenizer = copy.deepcopy(loaded.tokenizer)
        template = self._tokenizer.chat_template
        self.has_template = bool(template)
        self._knows_tools = "tools" in str(template or "")
        self._tags_calls = not self._knows_tools or CALL_BEGIN in str(template)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="astraea-render")

    async def chat(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]],
        *,
        must_call: str | None = None,
    ) -> list[int]:
        """Return the prompt for the next answer as token ids; with ``must_call``, begun as a call of that."""
        if not self.has_template:
            raise ApiError(400, "this model has no chat template; use /v1/completions", code="no_chat_template")
        return await self._off_loop(lambda: self._chat(messages, tools, must_call))

    async def text(self, text: str) -> list[int]:
        """Return the tokens of a text, with what the model wants before it."""
        return await self._off_loop(lambda: list(self._tokenizer.encode(text)))

    async def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return await self._off_loop(lambda: str(self._tokenizer.decode(list(tokens))))

    def piece(self, token: int) -> str:
        """Return the text of one token."""
        return str(self._tokenizer.decode([token]))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return how the model's vocabulary spells tokens."""
        return [str(one) for one in self._tokenizer.convert_ids_to_tokens(list(tokens))]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    async def _off_loop(self, what: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)

    def _chat(
        self, messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]], must_call: str | None
    ) -> list[int]:
        shown: Sequence[Mapping[str, object]]
        offered: Any
        if self._knows_tools:
            shown, offered = [_with_objects(message) for message in messages], list(tools) or None
        else:
            shown, offered = with_tools_in_text(messages, tools), None
        # Its types allow for strings only, which calls and tools are not.
        conversation: Any = [dict(message) for message in shown]
        try:
            text = self._tokenizer.apply_chat_template(
                conversation,
                tools=offered,
                add_generation_prompt=True,
                tokenize=False,
            )
        except Exception as error:
            # Templates refuse orders of messages that they do not know, and whatever else they like.
            log.info("the chat template refused a conversation", error=str(error)[:200])
            sentence = "the model's chat template does not take these messages in this order"
            raise ApiError(400, sentence, code="template_refused", param="messages") from error
        begun = "" if must_call is None else call_begun(must_call, is_tagged=self._tags_calls)
        return list(self._tokenizer.encode(f"{text}{begun}", add_special_tokens=False))


def _with_objects(message: Mapping[str, object]) -> Mapping[str, object]:
    """Return a message whose tool calls have their arguments as objects, as templates want them."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [{**call, "function": _function(call)} for call in calls]}


def _function(call: Mapping[str, Any]) -> dict[str, object]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        arguments = function["arguments"]
    return {"name": function["name"], "arguments": arguments}


def with_tools_in_text(
    messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]]
) -> list[Mapping[str, object]]:
    """Return messages of text alone, with the tools in the system message and calls and results written out."""
    shown = [_in_text(message) for message in messages]
    if not tools:
        return shown
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    preamble = _PREAMBLE.format(tools=listed, begin=CALL_BEGIN, end=CALL_END)
    if shown and shown[0]["role"] == "system":
        return [{"role": "system", "content": f"{shown[0]['content']}\n\n{preamble}"}, *shown[1:]]
    return [{"role": "system", "content": preamble}, *shown]


def _written(call: Mapping[str, Any]) -> str:
    """Return a call as a model wrote it: arguments that are no JSON stand as they are."""
    function = _function(call)
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f'{{"name": {json.dumps(function["name"], ensure_ascii=False)}, "arguments": {arguments}}}'


def _in_text(message: Mapping[str, object]) -> Mapping[str, object]:
    role, content = message["role"], str(message.get("content") or "")
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        written = [_written(call) for call in calls]
        blocks = "\n".join(f"{CALL_BEGIN}\n{one}\n{CALL_END}" for one in written)
        content = f"{content}\n{blocks}" if content else blocks
    if role == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    return {"role": role, "content": content}
