"""A closed loop of agents: so many jobs at a time, the next one when one ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from astraea.errors import AstraeaError, UsageError
from astraea.fleet.agent import FleetAgent
from astraea.fleet.client import Client, connected
from astraea.fleet.filler import Ruler
from astraea.fleet.results import FleetVerdict, JobRecord, judge_fleet
from astraea.fleet.tools import Tools
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import load_engine
from astraea.simulator.scenario import JobSource, Scenario

_SPARE = 32
"""One in so many tokens of a context is left for what the ruler gets wrong."""

__all__ = ["Fleet", "ask_once"]


@frozen(slots=True, kw_only=True)
class Fleet:
    """What runs against which server."""

    url: str
    scenario: Scenario
    """A workload and a number of agents, with the scales of lengths and waits."""
    seed: int = 0
    model: str | None = None
    """By default the first that the server lists."""
    key: str | None = None
    is_anonymous: bool = False
    """Tell the server nothing of sessions."""

    def run(
        self, label: str, notes: list[str], on_progress: Callable[[str, int, int], None] | None = None
    ) -> FleetVerdict:
        """Do all jobs and return the figures; ``notes`` takes sentences about what was left out.

        Raises :class:`UsageError` where there is no server to talk to, no job that it can serve, or none that was done.
        """
        return asyncio.run(self._run(label, notes, on_progress))

    async def _run(
        self, label: str, notes: list[str], on_progress: Callable[[str, int, int], None] | None
    ) -> FleetVerdict:
        async with connected(self.url, model=self.model, key=self.key) as client, Tools() as tools:
            ruler = await self._ruler(client)
            if not client.can_name_tool:
                notes.append("the server takes no tool_choice that names a tool: each answer may end a job for it")
            jobs = self._jobs(client, ruler, notes)
            backlog = list(reversed(jobs))
            records: list[JobRecord] = []
            run_id = secrets.token_hex(4)  # so that no two runs share a session

            async def work() -> None:
                while backlog:
                    job = backlog.pop()
                    session_id = None if self.is_anonymous else f"{run_id}-{job.session_id or job.job_id}"
                    records.append(await _work(FleetAgent(client, tools, ruler, job, session_id=session_id)))
                    if on_progress is not None:
                        on_progress(label, len(records), len(jobs))

            began_s = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(self.scenario.agents or 1):
                    group.create_task(work())
            return judge_fleet(label, records, time.monotonic() - began_s)

    async def _ruler(self, client: Client) -> Ruler:
        try:
            return await client.ruler()
        except AstraeaError as error:
            raise UsageError(f"the server at {self.url} does not answer a first question: {error}") from None

    def _jobs(self, client: Client, ruler: Ruler, notes: list[str]) -> Sequence[JobSpec]:
        """Return the jobs that fit what the server takes, the form of a chat included."""
        most = client.context_tokens_max
        engine = evolve(load_engine(self.scenario.engine), name=client.model, pool_tokens=most, context_tokens_max=most)
        jobs = JobSource(self.scenario, engine, notes).draw(self.seed)
        fitting = [job for job in jobs if ruler.peak_tokens(job) <= most - most // _SPARE]
        if len(fitting) < len(jobs):
            formed = "with the form of a chat, that is longer than the"
            notes.append(f"{len(jobs) - len(fitting):,} of {len(jobs):,} jobs left out: {formed} {most:,} tokens")
        if not fitting:
            raise UsageError(f"{self.scenario.name}: no job fits, {formed} {most:,} tokens of {client.model}")
        return fitting


async def _work(agent: FleetAgent) -> JobRecord:
    """Let an agent do its job, or give it up with the first of its errors."""
    try:
        await agent.run()
    except* AstraeaError as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        agent.record.error = str(error)
    return agent.record


def ask_once(url: str, question: str, *, key: str | None = None) -> str:
    """Return what the server's model answers to a question, in one line; raises as :meth:`Fleet.run` does."""

    async def ask() -> str:
        async with connected(url, model=None, key=key) as client:
            try:
                return await client.say(question)
            except AstraeaError as error:
                raise UsageError(f"the server at {url} does not answer: {error}") from None

    return asyncio.run(ask())
