"""Drives the scheduler through its three verbs on a virtual clock: one engine, continuous batching, a swap link.

The driver carries decisions out and reports; it holds no scheduling rule. Events are delivered in order of
``(time, sequence)``. A batch runs until its ``max_steps``, the first turn that ends, or the first step that ends at or
after the next event, and then everything that happened meanwhile is told in order of time, the batch's report last.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from astraea.decisions import Decision, Preempt, Refuse, RunBatch, SwapIn, SwapOut, WakeAt
from astraea.errors import InvariantError, UsageError
from astraea.events import BatchDone, Event, SessionClosed, SwapDone
from astraea.policy.core import Scheduler
from astraea.policy.limits import EngineCosts, Limits
from astraea.rivals import make_policy
from astraea.simulator.agents import Agent, LiveTurn, remaining_service_us, stages_of
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.results import JobResult, RunResult
from astraea.simulator.step_time import PS_PER_US, StepCost, alone_us, step_cost
from astraea.trace.digest import RunDigest

if TYPE_CHECKING:
    from astraea.trace.recorder import TraceRecorder

__all__ = ["Simulation", "limits_for", "simulate"]


def limits_for(profile: EngineProfile, host_ratio: float = 0.0, bypass_max: int | None = None) -> Limits:
    """Return the scheduler's limits for an engine; the host pool is ``host_ratio`` times the device pool."""
    blocks = profile.pool_tokens // profile.block_tokens
    costs = EngineCosts(
        step_ns=profile.step_ns,
        prefill_ns_per_token=profile.prefill_ns_per_token,
        read_ps_per_context_token=profile.read_ps_per_context_token,
        attention_ps_per_token_pair=profile.attention_ps_per_token_pair,
        swap_ns_per_token=profile.swap_ns_per_token,
    )
    limits = Limits(
        device_blocks=blocks,
        host_blocks=int(blocks * host_ratio),
        block_tokens=profile.block_tokens,
        step_tokens_max=profile.step_tokens_max,
        batch_turns_max=profile.batch_turns_max,
        costs=costs,
    )
    return limits if bypass_max is None else _with_bypass(limits, bypass_max)


def _with_bypass(limits: Limits, bypass_max: int) -> Limits:
    from attrs import evolve

    return evolve(limits, bypass_max=bypass_max)


class Simulation:
    """One run of one policy over one list of jobs."""

    def __init__(
        self,
        jobs: Sequence[JobSpec],
        profile: EngineProfile,
        policy: str,
        limits: Limits,
        *,
        recorder: TraceRecorder | None = None,
        one_step: bool = False,
    ) -> None:
        self.profile = profile
        self.limits = limits
        self.policy = make_policy(policy, limits)
        self.core = Scheduler(limits, self.policy)
        self.digest = RunDigest()
        self._recorder = recorder
        self._one_step = one_step
        self._agents = [self._agent(job, _longest_output(jobs)) for job in jobs]
        self._jobs_left: dict[tuple[str, str], int] = {}
        for agent in self._agents:
            key = (agent.spec.tenant, agent.session_id)
            self._jobs_left[key] = self._jobs_left.get(key, 0) + 1
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = 0
        self._turns: dict[str, LiveTurn] = {}
        self._written: dict[tuple[str, int], int] = {}
        self._now_ps = 0
        self._link_free_us = 0
        self._wake_us: int | None = None
        self._batch: RunBatch | None = None
        self._decide_ns: list[int] = []
        self.results: list[JobResult] = []
        self.busy_ps = self.steps = self.prefill_tokens = self.recomputed_tokens = 0
        self.swapped_tokens = self.preemptions = 0
        self.refused = 0

    def _agent(self, job: JobSpec, max_output: int) -> Agent:
        stages = stages_of(job.turns)
        remaining = remaining_service_us(stages, self.limits) if self.policy.clairvoyant else []
        return Agent(job, stages, job.session_id or job.job_id, max_output, remaining)

    # Time

    def run(self, agents: int | None, on_progress: Callable[[int, int], None] | None) -> None:
        """Run until every job has ended; ``agents`` jobs at a time where given (closed loop)."""
        total = len(self._agents)
        self._backlog = list(reversed(self._agents[agents:])) if agents is not None else []
        for agent in self._agents[:agents] if agents is not None else self._agents:
            self._at(0 if agents is not None else agent.spec.arrival_us or 0, self._starts(agent))
        reported = 0
        while len(self.results) < total:
            if self._batch is not None:
                self._run_batch(self._batch)
            elif self._heap:
                self._now_ps = max(self._now_ps, self._heap[0][0] * PS_PER_US)
                self._deliver(self._now_ps // PS_PER_US)
            else:
                raise InvariantError("LIVE-2", f"{total - len(self.results)} jobs are left and nothing will happen")
            self._decide()
            if on_progress is not None and len(self.results) != reported:
                reported = len(self.results)
                on_progress(reported, total)

    def _at(self, time_us: int, action: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, action))

    def _deliver(self, until_us: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_us:
            time_us, _, action = heapq.heappop(heap)
            action(time_us)

    def _handle(self, event: Event) -> None:
        if self._recorder is not None:
            self._recorder.event(event)
        self.digest.reported(event)
        self.core.handle(event)

    # Decisions

    def _decide(self) -> None:
        now_us = self._now_ps // PS_PER_US
        began = perf_counter_ns()
        decisions = self.core.decide(now_us)
        self._decide_ns.append(perf_counter_ns() - began)
        if self._recorder is not None:
            self._recorder.decided(now_us, decisions)
        self.digest.decided(now_us, decisions)
        for decision in decisions:
            self._carry_out(decision, now_us)

    def _carry_out(self, decision: Decision, now_us: int) -> None:
        kind = type(decision)
        if kind is RunBatch:
            self._begin_batch(decision, now_us)  # type: ignore[arg-type]
        elif kind is SwapOut or kind is SwapIn:
            self._copy(decision, now_us)  # type: ignore[arg-type]
        elif kind is Preempt:
            self.preemptions += 1
            turn = self._turns[decision.turn_id]  # type: ignore[union-attr]
            turn.agent.waits(now_us, 1)
        elif kind is Refuse:
            raise UsageError(f"turn {decision.turn_id} was refused: {decision.because.reason}")  # type: ignore[union-attr]
        elif kind is WakeAt:
            self._wake_us = decision.at_us  # type: ignore[union-attr]

    def _copy(self, decision: SwapOut | SwapIn, now_us: int) -> None:
        tokens = decision.to_tokens - decision.from_tokens
        self.swapped_tokens += tokens
        copy_us = -(-tokens * self.profile.swap_ns_per_token // 1000)
        self._link_free_us = max(self._link_free_us, now_us) + copy_us
        op_id = decision.op_id
        self._at(self._link_free_us, lambda time_us: self._handle(SwapDone(time_us, op_id)))

    def _begin_batch(self, batch: RunBatch, now_us: int) -> None:
        self._batch = batch
        for dispatch in batch.dispatched:
            turn = self._turns[dispatch.turn_id]
            turn.agent.waits(now_us, -1)
            turn.position = dispatch.start_tokens
            turn.target = turn.spec.context_tokens + turn.sampled

    # The engine

    def _run_batch(self, batch: RunBatch) -> None:
        live = [(self._turns[chunk.turn_id], chunk.tokens) for chunk in batch.chunks]
        cost = step_cost(self.profile, [(turn.position, tokens) for turn, tokens in live])
        steps = self._steps(batch, live, cost)
        spent_ps = cost.total_ps(steps)
        self._now_ps += spent_ps
        self.busy_ps += spent_ps
        self.steps += steps
        now_us = self._now_ps // PS_PER_US
        self._deliver(now_us)
        ended = [
            turn.outcome(chunk.turn_id)
            for chunk, (turn, tokens) in zip(batch.chunks, live, strict=True)
            if self._compute(turn, tokens * steps)
        ]
        self._batch = None
        finished = [self._turns.pop(outcome.turn_id) for outcome in ended]
        self._handle(BatchDone(now_us, batch.batch_id, steps, tuple(ended)))
        for turn in finished:
            self._turn_ended(turn, now_us)

    def _steps(self, batch: RunBatch, live: list[tuple[LiveTurn, int]], cost: StepCost) -> int:
        """Return how many steps run: up to the first turn that ends and the first event."""
        if self._one_step:
            return 1
        steps = batch.max_steps
        for turn, tokens in live:
            if turn.position + 1 >= turn.target:
                steps = min(steps, turn.spec.output_tokens - turn.sampled)
            elif turn.position + tokens * steps >= turn.target and turn.spec.output_tokens == 1:
                steps = min(steps, (turn.target - turn.position) // tokens)
        next_us = self._heap[0][0] if self._heap else None
        if self._wake_us is not None and self._wake_us * PS_PER_US > self._now_ps:
            next_us = self._wake_us if next_us is None else min(next_us, self._wake_us)
        if next_us is not None:
            steps = cost.steps_until(next_us * PS_PER_US - self._now_ps, steps)
        return steps

    def _compute(self, turn: LiveTurn, tokens: int) -> bool:
        """Advance a turn; whether it has produced all its output."""
        begin, end = turn.position, turn.position + tokens
        turn.position = end
        written = self._written.get(turn.context_key, 0)
        if begin + 1 < turn.target or not turn.sampled:
            filled = min(end, turn.target)
            self.prefill_tokens += filled - begin
            self.recomputed_tokens += max(0, min(written, filled) - begin)
        if end > written:
            self._written[turn.context_key] = end
        if end >= turn.target:
            turn.sampled += end - turn.target + 1
            turn.target = end + 1
        return turn.sampled >= turn.spec.output_tokens

    # Agents

    def _starts(self, agent: Agent) -> Callable[[int], None]:
        def start(now_us: int) -> None:
            agent.begun_us = now_us
            self._send_stage(agent, now_us)

        return start

    def _send_stage(self, agent: Agent, now_us: int) -> None:
        for event, turn in agent.begin_stage(now_us, self.limits, clairvoyant=self.policy.clairvoyant):
            self._turns[event.turn_id] = turn
            key = turn.context_key
            self._written[key] = min(self._written.get(key, 0), event.reusable_tokens)
            agent.waits(now_us, 1)
            self._handle(event)

    def _turn_ended(self, turn: LiveTurn, now_us: int) -> None:
        agent, wait_us = turn.agent, turn.spec.tool_wait_us
        agent.branches_left -= 1
        ready_us = now_us + (0 if turn.is_last_stage else wait_us)
        agent.stage_ready_us = max(agent.stage_ready_us, ready_us)
        if agent.branches_left:
            return
        agent.stage += 1
        if agent.done:
            self._job_ended(agent, now_us)
        else:
            self._at(agent.stage_ready_us, lambda time_us: self._send_stage(agent, time_us))

    def _job_ended(self, agent: Agent, now_us: int) -> None:
        spec = agent.spec
        waits_us = sum(turn.tool_wait_us for turn in spec.turns)
        self.results.append(
            JobResult(
                spec.job_id, agent.begun_us, now_us, alone_us(self.profile, spec), waits_us, agent.queue_us,
                len(spec.turns),
            )
        )  # fmt: skip
        key = (spec.tenant, agent.session_id)
        self._jobs_left[key] -= 1
        if not self._jobs_left[key]:
            self._handle(SessionClosed(now_us, *key))
            for branch in range(max(len(stage) for stage in agent.stages)):
                self._written.pop((agent.session_id, branch), None)
        if self._backlog:
            self._at(now_us, self._starts(self._backlog.pop()))

    def result(self) -> RunResult:
        """Return what the run came to."""
        view = self.core.snapshot()
        waits = sorted(self._decide_ns)
        order = sorted(self.results, key=lambda r: (r.arrival_us, r.job_id))
        return RunResult(
            policy=self.policy.name,
            digest=self.digest.hexdigest(),
            jobs=tuple(order),
            makespan_us=self._now_ps // PS_PER_US,
            busy_us=self.busy_ps // PS_PER_US,
            steps=self.steps,
            prefill_tokens=self.prefill_tokens,
            recomputed_tokens=self.recomputed_tokens,
            swapped_tokens=self.swapped_tokens,
            preemptions=self.preemptions,
            worst_bypass=view.worst_bypass,
            bypass_bound=self.limits.bypass_max if self.policy.guarded else None,
            decide_us_p50=waits[len(waits) // 2] / 1000,
            decide_us_p99=waits[len(waits) * 99 // 100] / 1000,
        )


def _longest_output(jobs: Sequence[JobSpec]) -> int:
    """Return the clients' ``max_tokens``: the least power of two that no output of the workload exceeds."""
    longest = max((turn.output_tokens for job in jobs for turn in job.turns), default=1)
    return 1 << (longest - 1).bit_length()


def simulate(
    jobs: Sequence[JobSpec],
    profile: EngineProfile,
    policy: str,
    *,
    host_ratio: float = 0.0,
    agents: int | None = None,
    recorder: TraceRecorder | None = None,
    one_step: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    limits: Limits | None = None,
) -> RunResult:
    """Run one policy over jobs whose arrivals are set, and return what it came to.

    ``agents``: closed loop with so many jobs at a time, arrivals ignored. ``one_step``: run one step at a time (slow;
    the digest is the same). ``limits`` overrides what ``limits_for`` would derive.
    """
    run = Simulation(
        jobs, profile, policy, limits or limits_for(profile, host_ratio), recorder=recorder, one_step=one_step
    )
    run.run(agents, on_progress)
    return run.result()
