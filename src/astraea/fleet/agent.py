"""One agent at work on one job: its turns, lengths, tools and waits are the job's, whatever the model says."""

from __future__ import annotations

import asyncio
import time
from random import Random

from attrs import Factory, define
from openai.types.chat import ChatCompletionMessageParam

from astraea.fleet.client import INSTRUCTIONS, Client, Reply
from astraea.fleet.filler import Ruler, filler
from astraea.fleet.results import JobRecord
from astraea.fleet.tools import Tools, tool_for
from astraea.simulator.agents import stages_of
from astraea.simulator.jobs import JobSpec, TurnSpec

__all__ = ["FleetAgent"]


@define(slots=True, eq=False)
class _Branch:
    """A conversation, and how long it is."""

    messages: list[ChatCompletionMessageParam]
    held_tokens: float
    """Prompt and answer of its last turn, as the server counted; before that, what the ruler says."""
    last: TurnSpec | None = None
    rounds: list[tuple[int, float, tuple[str, ...]]] = Factory(list)
    """Before each turn: how many messages there were, how many tokens, and which calls waited."""
    waiting: tuple[str, ...] = ()
    """Calls that wait for what the tool says."""
    said: str = ""

    def cut(self, tokens: float) -> None:
        """Forget whole rounds, the last ones first, down to so many tokens, as an agent that compacts its history."""
        while self.rounds and self.held_tokens > tokens:
            count, self.held_tokens, self.waiting = self.rounds.pop()
            del self.messages[count:]


class FleetAgent:
    """Works through a job; ``record`` says how it goes."""

    def __init__(self, client: Client, tools: Tools, ruler: Ruler, job: JobSpec, *, session_id: str | None) -> None:
        """``session_id``: the name to go by, ``None`` to tell the server nothing."""
        self._client = client
        self._tools = tools
        self._ruler = ruler
        self._job = job
        self._session_id = session_id
        self._stages = stages_of(job.turns)
        self._offered = sorted({tool_for(turn.tool) for turn in job.turns[:-1]})
        self._main = self._branch()
        self.record = JobRecord(job_id=job.job_id)

    def _branch(self) -> _Branch:
        """Return a conversation in which nothing was said but the instructions."""
        words = self._ruler.words(self._job.shared_prefix_tokens) if self._job.shared_prefix_id else 0
        text = filler(Random(self._job.shared_prefix_id), words) if words else INSTRUCTIONS
        held = self._ruler.base_tokens + self._job.shared_prefix_tokens
        return _Branch([{"role": "system", "content": text}], held)

    async def run(self) -> None:
        """Do the job; raises :class:`~astraea.errors.AstraeaError` where a turn or a tool fails."""
        began_ns = time.monotonic_ns()
        for index, stage in enumerate(self._stages):
            is_last = index == len(self._stages) - 1
            async with asyncio.TaskGroup() as group:
                for number, turn in enumerate(stage):
                    branch = self._branch() if number else self._main
                    group.create_task(self._turn(branch, turn, f"{index}.{number}", is_last=is_last))
        self.record.jct_us = (time.monotonic_ns() - began_ns) // 1_000

    async def _turn(self, branch: _Branch, turn: TurnSpec, turn_id: str, *, is_last: bool) -> None:
        """Ask, and use the tool that the answer is said to call; branches beside the main one only wait for it."""
        tool = None if is_last else tool_for(turn.tool)
        is_main = branch is self._main
        self._say(branch, turn, turn_id)
        said: dict[str, object] = {} if self._session_id is None else {"session_id": self._session_id}
        reply = await self._client.ask(
            branch.messages, turn.output_tokens, tools=self._offered, calls=tool if is_main else None,
            **said, **({"final": True} if is_last and self._session_id is not None else {}),
        )  # fmt: skip
        self._heard(branch, reply)
        if tool is None:
            return
        began_ns = time.monotonic_ns()
        branch.said = await self._tools.run(tool, Random(f"{self._job.job_id}/{turn_id}"), turn.tool_wait_us)
        if is_main:
            self.record.tool_wait_us += (time.monotonic_ns() - began_ns) // 1_000

    def _say(self, branch: _Branch, turn: TurnSpec, turn_id: str) -> None:
        """Add what makes the prompt as long as the turn's: what the tool said, as far as there is room, then words."""
        if branch.last is not None and turn.reusable_tokens < branch.last.context_tokens + branch.last.output_tokens:
            branch.cut(self._ruler.base_tokens + turn.reusable_tokens)
        branch.last = turn
        branch.rounds.append((len(branch.messages), branch.held_tokens, branch.waiting))
        held = branch.held_tokens if len(branch.rounds) > 1 else None
        shared = 0 if held is not None else self._job.shared_prefix_tokens
        count = self._ruler.words(self._ruler.lacking(turn, held) - shared)
        said = branch.said.split() if branch.waiting else []
        more = filler(Random(f"{self._job.job_id}/{turn_id}/words"), count).split()
        text = " ".join([*said, *more][:count])
        if not branch.waiting:
            branch.messages.append({"role": "user", "content": text})
        for number, call_id in enumerate(branch.waiting):
            content = "not used" if number else text
            branch.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _heard(self, branch: _Branch, reply: Reply) -> None:
        branch.messages.append(reply.message)
        branch.waiting = reply.call_ids
        branch.held_tokens = reply.prompt_tokens + reply.output_tokens
        record = self.record
        record.turns += 1
        record.prompt_tokens += reply.prompt_tokens
        record.cached_tokens += reply.cached_tokens
        record.output_tokens += reply.output_tokens
