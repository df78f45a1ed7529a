"""The answer to one request as it comes: one choice a turn, each with its text, its tool calls and how it ended."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from attrs import define, field, frozen

from astraea.executor.requests import Answer, Finish, Token
from astraea.server.bridge import EngineThread, TurnStream
from astraea.server.refusals import ApiError, of_answer
from astraea.server.sessions import Placed
from astraea.server.tool_calls import Said, ToolText, find_calls, the_call

__all__ = ["Choice", "Reply", "Update", "without_nul"]


def without_nul(text: str) -> str:
    """Return a model's text as it is told: without the character NUL, which no request may hold, this answer's next."""
    return text.replace("\0", "\ufffd")


@define(eq=False)
class Choice:
    """One of the answers to a request."""

    index: int
    placed: Placed
    tools: frozenset[str]
    text: ToolText
    wants_logprobs: bool
    must_call: str | None = None
    """The tool that it calls, whatever it says."""
    stream: TurnStream = field(init=False)
    said: Said | None = None
    """Once it has ended."""
    told: bool = False
    """Whether its end was read."""

    def tool_of(self, answer: Answer) -> str | None:
        """Find the tool calls of an answer at its end, in the engine's thread; return the first one's name."""
        if self.must_call is not None:
            self.said = the_call(self.must_call, without_nul(answer.text))
        else:
            self.said = find_calls(without_nul(answer.text), self.tools)
        return self.said.calls[0].name if self.said.calls else None

    @property
    def answer(self) -> Answer:
        """The ended turn."""
        assert self.stream.answer is not None
        return self.stream.answer

    @property
    def tokens(self) -> list[Token]:
        """The ended turn's tokens with their log-probabilities, where these were asked for."""
        told = zip(self.answer.tokens, self.answer.logprobs, strict=True)
        return [Token(token, "", *logprobs) for token, logprobs in told]

    @property
    def content(self) -> Said:
        """What the ended turn said; one that was cut off said the text so far."""
        return self.said if self.said is not None else Said(without_nul(self.answer.text))

    @property
    def finish(self) -> str:
        """How it ended, as the chat completions API names it."""
        if self.content.calls:
            return "tool_calls"
        return "length" if self.answer.finish is Finish.LENGTH else "stop"


@frozen
class Update:
    """What came of a choice since the last one."""

    choice: Choice
    text: str
    tokens: Sequence[Token]
    is_end: bool


@define(eq=False)
class Reply:
    """All answers to one request."""

    bridge: EngineThread
    prompt: Sequence[int]
    headers: dict[str, str]
    created_s: int
    reply_id: str = field(factory=lambda: secrets.token_hex(16))
    news: asyncio.Event = field(factory=asyncio.Event)
    choices: list[Choice] = field(factory=list)
    after: list[Callable[[], None]] = field(factory=list)
    """Called once all answers have ended."""

    @property
    def is_over(self) -> bool:
        """Whether all answers have ended."""
        return all(choice.stream.answer is not None for choice in self.choices)

    def cancel(self) -> None:
        """End what still goes on: nobody reads it."""
        for choice in self.choices:
            self.bridge.cancel(choice.stream)

    def error(self) -> ApiError | None:
        """Return what went wrong with any of the answers."""
        for choice in self.choices:
            if choice.stream.answer is not None:
                error = of_answer(choice.answer, engine_failed=choice.stream.engine_failed)
                if error is not None:
                    return error
        return None

    async def begun(self, timeout_s: float) -> None:
        """Wait until a token came or all has ended, but not longer; raise :class:`ApiError` where it ended wrongly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_over and all(choice.stream.first_token_s is None for choice in self.choices):
                    if self.error() is not None:
                        break
                    self.news.clear()
                    await self.news.wait()
        error = self.error()
        if error is not None:
            raise error

    async def updates(self, keep_alive_s: float) -> AsyncIterator[list[Update]]:
        """Yield what comes, together what came together, and nothing where nothing came for ``keep_alive_s``.

        Raises :class:`ApiError` where an answer ends wrongly.
        """
        while True:
            self.news.clear()
            found = [update for choice in self.choices if (update := _update(choice)) is not None]
            if found:
                yield found
            error = self.error()
            if error is not None:
                raise error
            if all(choice.told for choice in self.choices):
                return
            if not found and not await self._heard(keep_alive_s):
                yield []

    async def _heard(self, timeout_s: float) -> bool:
        """Wait for news; return whether there was any in time."""
        timer = asyncio.get_running_loop().call_later(timeout_s, self.news.set)
        await self.news.wait()
        timer.cancel()
        return asyncio.get_running_loop().time() < timer.when()

    async def finished(self) -> None:
        """Wait until all has ended; raise :class:`ApiError` where it ended wrongly."""
        while not self.is_over and self.error() is None:
            self.news.clear()
            await self.news.wait()
        error = self.error()
        if error is not None:
            raise error

    def usage(self) -> dict[str, object]:
        """Return the tokens of prompt and answers; ``cached_tokens`` did not have to be computed."""
        output = sum(len(choice.answer.tokens) for choice in self.choices if choice.stream.answer is not None)
        # The prompt is counted once, however many answers it has, and so is what was held of it for the first.
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": output,
            "total_tokens": len(self.prompt) + output,
            "prompt_tokens_details": {"cached_tokens": self.choices[0].stream.cached_tokens},
        }


def _update(choice: Choice) -> Update | None:
    stream = choice.stream
    tokens = stream.take()
    is_end = stream.answer is not None and not choice.told
    if not tokens and not is_end:
        return None
    text = "".join(choice.text.push(without_nul(token.text)) for token in tokens if token.text)
    if is_end:
        choice.told = True
        text += choice.text.finish(choice.content)
    return Update(choice, text, tokens, is_end)
