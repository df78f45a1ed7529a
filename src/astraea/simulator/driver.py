"""Drives the scheduler through its three verbs on a virtual clock: one engine, continuous batching, a swap link.

The driver carries decisions out and reports; it holds no scheduling rule. Events are delivered in order of
``(time, sequence)``. A batch runs until its ``max_steps``, the first turn that ends, or the first step that ends at or
after the next event, and then everything that happened meanwhile is told in order of time, the batch's report last.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from time import perf_counter_ns

from astraea.decisions import Decision, DropCache, Hold, Preempt, Refuse, RunBatch, SwapIn, SwapOut, WakeAt
from astraea.errors import InvariantError, UsageError
from astraea.events import BatchDone, Event, SessionClosed, SwapDone, TurnOutcome
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.rivals import make_policy
from astraea.simulator.agents import Agent, LiveTurn, longest_output, remaining_service_us, stages_of
from astraea.simulator.engine import ModelEngine, limits_for
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.results import JobResult, RunResult
from astraea.simulator.step_time import PS_PER_US, alone_us
from astraea.trace.digest import RunDigest
from astraea.trace.recorder import Recorder

__all__ = ["Simulation", "simulate"]


class Simulation:
    """One run of one policy over one list of jobs."""

    def __init__(
        self, jobs: Sequence[JobSpec], profile: EngineProfile, policy: Policy, limits: Limits, *,
        recorder: Recorder | None = None, one_step: bool = False,
    ) -> None:  # fmt: skip
        self._profile = profile
        self._limits = limits
        self._policy = policy
        self._core = Scheduler(limits, policy)
        self._engine = ModelEngine(profile, one_step=one_step)
        self._digest = RunDigest()
        self._recorder = recorder
        output_max = longest_output(jobs)
        self._agents = [self._agent(job, output_max) for job in jobs]
        self._jobs_left: dict[tuple[str, str], int] = {}
        for agent in self._agents:
            self._jobs_left[agent.key] = self._jobs_left.get(agent.key, 0) + 1
        self._backlog: list[Agent] = []
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = 0
        self._turns: dict[str, LiveTurn] = {}
        self._wake_us = 0
        self._batch: RunBatch | None = None
        self._batch_turns: list[LiveTurn] = []
        self._decide_ns: list[int] = []
        self._results: list[JobResult] = []
        self._preemptions = 0

    def _agent(self, job: JobSpec, output_max: int) -> Agent:
        stages = stages_of(job.turns)
        remaining = remaining_service_us(stages, self._limits) if self._policy.clairvoyant else []
        return Agent(job, stages, job.session_id or job.job_id, output_max, remaining)

    def run(self, agents: int | None, on_progress: Callable[[int, int], None] | None) -> None:
        """Run until every job has ended; ``agents`` jobs at a time where given (closed loop)."""
        total = len(self._agents)
        first = total if agents is None else agents
        self._backlog = self._agents[: first - 1 : -1] if first < total else []
        for agent in self._agents[:first]:
            self._at(0 if agents is not None else agent.spec.arrival_us or 0, self._starts(agent))
        reported = 0
        while len(self._results) < total:
            if self._batch is not None:
                self._run_batch(self._batch)
            elif self._heap:
                self._engine.wait_until(self._heap[0][0])
                self._deliver(self._engine.now_us)
            else:
                raise InvariantError("LIVE-2", f"{total - len(self._results)} jobs are left and nothing will happen")
            self._decide(self._engine.now_us)
            if on_progress is not None and len(self._results) != reported:
                reported = len(self._results)
                on_progress(reported, total)

    def _at(self, time_us: int, action: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, action))

    def _deliver(self, until_us: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_us:
            time_us, _, action = heapq.heappop(heap)
            action(time_us)

    def _next_us(self) -> int | None:
        """Return when the running batch must stop at the latest: the next event, or the asked-for wake-up."""
        next_us = self._heap[0][0] if self._heap else None
        if self._wake_us * PS_PER_US > self._engine.now_ps and (next_us is None or self._wake_us < next_us):
            return self._wake_us
        return next_us

    def _handle(self, event: Event) -> None:
        if self._recorder is not None:
            self._recorder.event(event)
        self._core.handle(event)
        self._digest.reported(event)

    def _decide(self, now_us: int) -> None:
        began = perf_counter_ns()
        decisions = self._core.decide(now_us)
        self._decide_ns.append(perf_counter_ns() - began)
        if self._recorder is not None:
            self._recorder.decided(now_us, decisions)
        self._digest.decided(now_us, decisions)
        for decision in decisions:
            self._carry_out(decision, now_us)

    def _carry_out(self, decision: Decision, now_us: int) -> None:
        match decision:
            case RunBatch():
                self._begin_batch(decision, now_us)
            case SwapOut() | SwapIn():
                self._copy(decision)
            case Preempt():
                self._preemptions += 1
                self._turns[decision.turn_id].agent.waits(now_us, 1)
            case Refuse():
                self._refused(decision, now_us)
            case WakeAt():
                self._wake_us = decision.at_us
            case DropCache() | Hold():
                pass

    def _refused(self, refusal: Refuse, now_us: int) -> None:
        """Give up: a comparison of policies in which some work is not done says nothing."""
        raise UsageError(f"turn {refusal.turn_id} was refused: {refusal.because.reason}")

    def _copy(self, decision: SwapOut | SwapIn) -> None:
        op_id = decision.op_id
        arrives_us = self._engine.copy(decision.to_tokens - decision.from_tokens)
        self._at(arrives_us, lambda time_us: self._handle(SwapDone(time_us, op_id)))

    def _begin_batch(self, batch: RunBatch, now_us: int) -> None:
        self._batch = batch
        for dispatch in batch.dispatched:
            turn = self._turns[dispatch.turn_id]
            turn.agent.waits(now_us, -1)
            turn.position = dispatch.start_tokens
            turn.target = turn.spec.context_tokens + turn.sampled
        self._batch_turns = [self._turns[chunk.turn_id] for chunk in batch.chunks]

    def _run_batch(self, batch: RunBatch) -> None:
        steps, ended = self._engine.run(batch, self._batch_turns, self._next_us())
        self._deliver(self._engine.now_us)
        self._report(batch, steps, ended)

    def _report(self, batch: RunBatch, steps: int, ended: Sequence[TurnOutcome]) -> None:
        now_us = self._engine.now_us
        self._batch = None
        finished = [self._turns.pop(outcome.turn_id) for outcome in ended]
        self._handle(BatchDone(now_us, batch.batch_id, steps, tuple(ended)))
        for turn in finished:
            self._turn_ended(turn, now_us)

    def _starts(self, agent: Agent) -> Callable[[int], None]:
        def start(now_us: int) -> None:
            agent.begun_us = now_us
            self._send_stage(agent, now_us)

        return start

    def _send_stage(self, agent: Agent, now_us: int) -> None:
        for event, turn in agent.begin_stage(now_us, self._limits, clairvoyant=self._policy.clairvoyant):
            self._turns[event.turn_id] = turn
            self._engine.edit_history(turn.context_key, event.reusable_tokens)
            agent.waits(now_us, 1)
            self._handle(event)

    def _turn_ended(self, turn: LiveTurn, now_us: int) -> None:
        agent = turn.agent
        agent.branches_left -= 1
        ready_us = now_us if turn.is_last_stage else now_us + turn.spec.tool_wait_us
        agent.stage_ready_us = max(agent.stage_ready_us, ready_us)
        if agent.branches_left:
            return
        agent.stage += 1
        if agent.done:
            self._job_ended(agent, now_us)
        else:
            self._await_tools(agent)

    def _await_tools(self, agent: Agent) -> None:
        """Send the next stage when every tool of the last one has returned."""
        self._at(agent.stage_ready_us, lambda time_us: self._send_stage(agent, time_us))

    def _job_ended(self, agent: Agent, now_us: int) -> None:
        self._results.append(agent.result(now_us, alone_us(self._profile, agent.spec)))
        self._jobs_left[agent.key] -= 1
        if not self._jobs_left[agent.key]:
            self._handle(SessionClosed(now_us, *agent.key))
            self._engine.forget(agent.session_id, max(len(stage) for stage in agent.stages))
        if self._backlog:
            self._at(now_us, self._starts(self._backlog.pop()))

    def result(self) -> RunResult:
        """Return what the run came to."""
        engine, times = self._engine, sorted(self._decide_ns)
        return RunResult(
            policy=self._policy.name,
            digest=self._digest.hexdigest(),
            jobs=tuple(sorted(self._results, key=lambda job: (job.arrival_us, job.job_id))),
            makespan_us=engine.now_us,
            busy_us=engine.busy_ps // PS_PER_US,
            steps=engine.steps,
            prefill_tokens=engine.prefill_tokens,
            recomputed_tokens=engine.recomputed_tokens,
            swapped_tokens=engine.swapped_tokens,
            preemptions=self._preemptions,
            worst_bypass=self._core.snapshot().worst_bypass,
            bypass_bound=self._limits.bypass_max if self._policy.guarded else None,
            decide_us_p50=times[len(times) // 2] / 1000,
            decide_us_p99=times[len(times) * 99 // 100] / 1000,
        )


def simulate(
    jobs: Sequence[JobSpec],
    profile: EngineProfile,
    policy: str,
    *,
    host_ratio: float = 0.0,
    agents: int | None = None,
    recorder: Recorder | None = None,
    one_step: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    limits: Limits | None = None,
) -> RunResult:
    """Run one policy over jobs whose arrivals are set, and return what it came to.

    ``agents``: closed loop with so many jobs at a time, arrivals ignored. ``one_step``: run one step at a time (slow;
    the digest is the same). ``limits`` overrides what ``limits_for`` would derive.
    """
    limits = limits or limits_for(profile, host_ratio)
    run = Simulation(jobs, profile, make_policy(policy, limits), limits, recorder=recorder, one_step=one_step)
    run.run(agents, on_progress)
    return run.result()
