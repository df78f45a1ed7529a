"""One server as the agents see it: the OpenAI SDK, the model it serves, and what its errors mean to a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from attrs import define, frozen
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from astraea.errors import AstraeaError, UsageError
from astraea.fleet.filler import Ruler, filler
from astraea.fleet.tools import TOOLS

__all__ = ["INSTRUCTIONS", "Client", "Reply", "connected"]

INSTRUCTIONS = "You are an agent."
"""The system message where the workload has none to share."""

_TIMEOUT_S = 3_600.0
"""A turn may wait behind many others; how long is the figure that is wanted."""
_RETRIES = 8
"""How often a turn that is sent away (429, 503) comes again before its job is given up."""
_CONTEXT_TOKENS = 8_192
"""What is assumed of a server that does not say how much it takes."""
_PROBE_WORDS = (16, 144)


@frozen(slots=True)
class Reply:
    """What came of one turn."""

    message: ChatCompletionMessageParam
    """As it goes into the history."""
    call_ids: tuple[str, ...]
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@define(slots=True)
class Client:
    """A connection to a server, and the model."""

    sdk: AsyncOpenAI
    model: str
    context_tokens_max: int
    can_name_tool: bool = True
    """Whether the server lets a request say which tool the answer calls."""

    async def ask(
        self, messages: Sequence[ChatCompletionMessageParam], output_tokens: int, *, tools: Sequence[str],
        calls: str | None, **said: object,
    ) -> Reply:  # fmt: skip
        """Ask for an answer of just so many tokens, which is a call of the tool ``calls`` if the server can be told.

        ``said`` is what a body may hold beside what the SDK knows. Raises :class:`AstraeaError`: a turn that failed.
        """
        try:
            completion = await self.sdk.chat.completions.create(
                model=self.model,
                messages=list(messages),
                max_tokens=output_tokens,
                **_offer(tools, calls if self.can_name_tool else None),
                extra_body={"min_tokens": output_tokens, "ignore_eos": True, **said},
            )
        except APIError as error:
            raise AstraeaError(_sentence(error)) from None
        return _reply(completion, calls)

    async def say(self, question: str) -> str:
        """Return what the model answers to a question, in one line, as it would to a person."""
        try:
            completion = await self.sdk.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": question}], max_tokens=64, temperature=0
            )
        except APIError as error:
            raise AstraeaError(_sentence(error)) from None
        return " ".join((completion.choices[0].message.content or "").split())

    async def ruler(self) -> Ruler:
        """Ask short questions, to learn how the model counts and whether it can be told to call a tool."""
        tool = next(iter(TOOLS))
        asked: list[ChatCompletionMessageParam] = [{"role": "system", "content": INSTRUCTIONS}]
        short, long = [
            (words, await self._probe([*asked, {"role": "user", "content": filler(Random(words), words)}], tool))
            for words in _PROBE_WORDS
        ]
        call: Any = {"id": "call-0", "type": "function", "function": {"name": tool, "arguments": "{}"}}
        asked += [
            {"role": "user", "content": filler(Random(0), short[0])},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": ""},
        ]
        return Ruler.measured(short, long, (short[0], await self._probe(asked, tool)))

    async def _probe(self, messages: Sequence[ChatCompletionMessageParam], tool: str) -> int:
        try:
            reply = await self.ask(messages, 1, tools=[tool], calls=tool, final=True)
        except AstraeaError:
            if not self.can_name_tool:
                raise
            self.can_name_tool = False
            return await self._probe(messages, tool)
        return reply.prompt_tokens


@asynccontextmanager
async def connected(url: str, *, model: str | None, key: str | None) -> AsyncIterator[Client]:
    """Connect to the server at ``url`` and find its model; a :class:`UsageError` says why it is none to talk to."""
    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    async with AsyncOpenAI(base_url=base, api_key=key or "none", timeout=_TIMEOUT_S, max_retries=_RETRIES) as sdk:
        try:
            served = (await sdk.with_options(max_retries=0).models.list()).data
        except APIConnectionError:
            raise UsageError(f"no server answers at {base}: start one with astraea-serve") from None
        except APIStatusError as error:
            raise UsageError(f"the server at {base} does not list its models: {_sentence(error)}") from None
        named = [entry for entry in served if model in {None, entry.id}]
        if not named:
            names = ", ".join(entry.id for entry in served) or "none"
            raise UsageError(f"the server at {base} has no model {model!r}: it has {names}")
        context_tokens = getattr(named[0], "max_model_len", None)
        yield Client(sdk, named[0].id, context_tokens if isinstance(context_tokens, int) else _CONTEXT_TOKENS)


def _sentence(error: APIError) -> str:
    """Return an error in one line: what the server says of it, or what became of the connection."""
    said = error.body.get("message") if isinstance(error.body, dict) else None
    status = f"{error.status_code}: " if isinstance(error, APIStatusError) else ""
    return status + " ".join(str(said or error.message).split())


def _offer(tools: Sequence[str], calls: str | None) -> dict[str, Any]:
    """Return what a request says of tools; nothing where there is none."""
    if not tools:
        return {}
    defined = [{"type": "function", "function": {"name": tool, "description": TOOLS[tool]}} for tool in tools]
    return {"tools": defined, "tool_choice": {"type": "function", "function": {"name": calls}} if calls else "auto"}


def _reply(completion: ChatCompletion, calls: str | None) -> Reply:
    """Return an answer as history; where a call was due and none was made, the agent makes it itself."""
    usage = completion.usage
    if usage is None or not completion.choices:
        raise UsageError("the server's answers hold no choice or no usage, which the agents go by")
    message = completion.choices[0].message
    history: dict[str, Any] = {"role": "assistant", "content": message.content or ""}
    made = [call.model_dump(exclude_none=True) for call in message.tool_calls or ()]
    if calls and not made:
        made = [{"id": f"{completion.id}-call", "type": "function", "function": {"name": calls, "arguments": "{}"}}]
    if made:
        history["tool_calls"] = made
    details = usage.prompt_tokens_details
    return Reply(
        message=history,  # type: ignore[arg-type]  # it is what the SDK gave, without what is none
        call_ids=tuple(call["id"] for call in made),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=(details.cached_tokens or 0) if details is not None else 0,
        output_tokens=usage.completion_tokens,
    )
