"""Agents that send their turns to a real engine: lengths, turns and tool waits are the workload's, time is real.

The engine runs in a thread of its own; the agents live here, sleep through their tool waits and ask when they are over.
An answer ends after as many tokens as the workload says, which nobody but the agent knows before.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define

from astraea.cli.prompts import Prompts
from astraea.errors import AstraeaError, UsageError
from astraea.events import TurnArrived
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Answer, Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.policy.limits import Limits
from astraea.rivals import make_policy
from astraea.simulator.agents import Agent, LiveTurn, longest_output, remaining_service_us, stages_of
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.results import JobResult
from astraea.simulator.step_time import alone_us
from astraea.units import US_PER_S

__all__ = ["RealRun"]

_POLL_S = 0.2
"""How long to wait at a time, so that an engine that failed is noticed."""


@define(slots=True, eq=False)
class _Asked:
    """A turn that the engine has."""

    event: TurnArrived
    live: LiveTurn
    answer: Answer


class RealRun:
    """One run of one policy over one list of jobs on a real model."""

    def __init__(
        self,
        loaded: LoadedModel,
        jobs: Sequence[JobSpec],
        profile: EngineProfile,
        limits: Limits,
        *,
        policy: str,
        record: Path,
    ) -> None:
        chosen = make_policy(policy, limits)
        self._clairvoyant = chosen.clairvoyant
        self._profile = profile
        self._limits = limits
        output_max = longest_output(jobs)
        self._agents = [self._agent(job, output_max) for job in jobs]
        self._jobs_left: dict[tuple[str, str], int] = {}
        for agent in self._agents:
            self._jobs_left[agent.key] = self._jobs_left.get(agent.key, 0) + 1
        self._prompts = Prompts(loaded.model.config.vocab_size, seed=0)
        self._engine = Engine(loaded, limits, policy=policy, record=record, clock=self._now_us)
        self._began_ns = time.monotonic_ns()
        self._backlog: list[Agent] = []
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = 0
        self._asked: dict[str, _Asked] = {}
        self._ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._results: list[JobResult] = []

    def _agent(self, job: JobSpec, output_max: int) -> Agent:
        stages = stages_of(job.turns)
        remaining = remaining_service_us(stages, self._limits) if self._clairvoyant else []
        return Agent(job, stages, job.session_id or job.job_id, output_max, remaining)

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._began_ns) // 1000

    def run(self, agents: int | None, on_progress: Callable[[int, int], None] | None) -> list[JobResult]:
        """Run until every job has ended, ``agents`` at a time where given, else as they arrive; by arrival.

        Raises :class:`UsageError` for a turn that is refused or that the model fails on.
        """
        self._began_ns = time.monotonic_ns()
        first = len(self._agents) if agents is None else agents
        self._backlog = self._agents[: first - 1 : -1] if first < len(self._agents) else []
        for agent in self._agents[:first]:
            self._at(0 if agents is not None else agent.spec.arrival_us or 0, self._starts(agent))
        thread = threading.Thread(target=self._serve, name="astraea-engine")
        thread.start()
        try:
            self._live_through(on_progress)
        finally:
            self._over.set()
            thread.join()
            self._engine.close()
        return sorted(self._results, key=lambda job: (job.arrival_us, job.job_id))

    def _serve(self) -> None:
        try:
            while not (self._over.is_set() and self._engine.is_idle):
                if not self._engine.step():
                    self._engine.wait(_POLL_S)
                if self._over.is_set() and len(self._results) < len(self._agents):
                    return  # the agents gave up
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that asked for the run
            self._failure = error

    def _live_through(self, on_progress: Callable[[int, int], None] | None) -> None:
        while len(self._results) < len(self._agents):
            timeout_s = _POLL_S
            if self._heap:
                timeout_s = min(timeout_s, max(0, self._heap[0][0] - self._now_us()) / US_PER_S)
            try:
                turn_id, now_us = self._ended.get(timeout=timeout_s)
            except queue.Empty:
                self._check()
            else:
                done = len(self._results)
                self._turn_ended(turn_id, now_us)
                if on_progress is not None and len(self._results) != done:
                    on_progress(len(self._results), len(self._agents))
            while self._heap and self._heap[0][0] <= self._now_us():
                due_us, _, action = heapq.heappop(self._heap)
                action(due_us)

    def _check(self) -> None:
        """Raise what went wrong in the engine."""
        if self._failure is not None:
            raise self._failure
        for turn_id, asked in self._asked.items():
            finish = asked.answer.finish
            if finish is Finish.REFUSED:
                raise UsageError(f"turn {turn_id} was refused: {asked.answer.error}")
            if finish in {Finish.FAILED, Finish.CANCELLED}:
                raise AstraeaError(f"turn {turn_id} {finish}: {asked.answer.error}")

    def _at(self, time_us: int, action: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, action))

    def _starts(self, agent: Agent) -> Callable[[int], None]:
        def start(due_us: int) -> None:
            agent.begun_us = due_us
            self._send_stage(agent)

        return start

    def _send_stage(self, agent: Agent) -> None:
        sent = agent.begin_stage(self._now_us(), self._limits, clairvoyant=self._clairvoyant)
        for event, live in sent:
            self._asked[event.turn_id] = _Asked(event, live, self._engine.submit(self._request(event, live)))

    def _request(self, event: TurnArrived, live: LiveTurn) -> TurnRequest:
        turn_id = event.turn_id

        def tool_of(_answer: Answer) -> str | None:
            self._ended.put((turn_id, self._now_us()))
            return live.outcome(turn_id).tool

        return TurnRequest(
            tenant=event.tenant, session_id=event.session_id, job_id=event.job_id, turn_id=turn_id,
            context_id=event.context_id, prompt=self._prompts.prompt(event),
            max_output_tokens=event.max_output_tokens, ends_after=live.spec.output_tokens, stop_tokens=frozenset(),
            shared_prefix_tokens=0 if event.shared_prefix is None else event.shared_prefix.tokens, hints=event.hints,
            tool_of=tool_of,
        )  # fmt: skip

    def _turn_ended(self, turn_id: str, now_us: int) -> None:
        asked = self._asked.pop(turn_id)
        live, agent = asked.live, asked.live.agent
        self._prompts.answered(asked.event, [*asked.answer.request.prompt, *asked.answer.tokens])
        agent.branches_left -= 1
        ready_us = now_us if live.is_last_stage else now_us + live.spec.tool_wait_us
        agent.stage_ready_us = max(agent.stage_ready_us, ready_us)
        if agent.branches_left:
            return
        agent.stage += 1
        if agent.done:
            self._job_ended(agent, now_us)
        else:
            self._at(agent.stage_ready_us, lambda _due_us: self._send_stage(agent))

    def _job_ended(self, agent: Agent, now_us: int) -> None:
        self._results.append(agent.result(now_us, alone_us(self._profile, agent.spec)))
        self._jobs_left[agent.key] -= 1
        if not self._jobs_left[agent.key]:
            self._engine.close_session(*agent.key)
            self._prompts.forget(*agent.key)
        if self._backlog:
            self._at(now_us, self._starts(self._backlog.pop()))
