"""One round: a plan carried out, from the first arrival over the heal to the last block that comes back.

The safety phase lasts up to the plan's horizon. Then everything heals: what is owed is reported, faults strike no more,
no job begins. From there on every job that has begun must come to its end (LIVE-4) within a bound on calls of
``decide``, and when all sessions are closed every block must be back (INV-1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve

from astraea.decisions import Decision, RunBatch, WakeAt
from astraea.errors import InvariantError
from astraea.events import BatchDone, BatchOverdue, Drain, Outcome, SessionClosed, TurnOutcome
from astraea.policy.protocol import Policy
from astraea.rivals import make_policy
from astraea.simulator.step_time import PS_PER_US
from astraea.simulator.torture.estimates import MadEstimates
from astraea.simulator.torture.faults import Fault, FaultKind, Target
from astraea.simulator.torture.plan import Plan
from astraea.simulator.torture.strikes import Strikes
from astraea.simulator.torture.witness import Witness

__all__ = ["Round", "rest_bound"]


def rest_bound(turns: int, tokens: int, preemptions_max: int) -> int:
    """Return the calls of ``decide`` within which so many turns of so many tokens come to their ends, healed.

    Each call but a few for each placing leads to a token at least, and no token is computed more than P + 1 times.
    """
    return 20 + (preemptions_max + 2) * (10 * (turns + 1) + 2 * tokens)


class Round(Strikes):
    """A plan that is carried out."""

    def __init__(self, plan: Plan, look_every: int) -> None:
        policy: Policy = make_policy(plan.policy, plan.limits)
        if plan.mad:
            policy = MadEstimates(policy, plan.limits, plan.seed)
        self.witness = Witness(plan.limits, policy, look_every)
        super().__init__(plan.jobs, plan.profile, policy, plan.limits, recorder=self.witness, one_step=plan.one_step)
        self._begin_strikes()
        self._slack = plan.slack
        self._plan = plan
        self.heal_decides = 0
        self.heal_bound = 0

    def carry_out(self) -> None:
        """Run to the end; raise :class:`InvariantError` where a claim is seen to be broken, or what the core raises."""
        plan = self._plan
        for agent in self._agents:
            self._at(agent.spec.arrival_us or 0, self._starts(agent))
        for fault in plan.faults:
            self._at(fault.at_us, self._striking(fault))
        self._at(plan.horizon_us, self._heal)
        while not self._healing or self._at_work or self._copies or self._batch is not None:
            if self._batch is not None:
                self._run_batch(self._batch)
            elif self._heap:
                self._engine.wait_until(self._heap[0][0])
                self._deliver(self._engine.now_us)
            else:
                raise InvariantError("LIVE-2", f"{len(self._at_work)} jobs are left and nothing will happen")
            self._decide(self._engine.now_us)
            self._count_healing()
        self._rest()

    @property
    def simulated_us(self) -> int:
        """The time that passed, jumps of the clock left out."""
        return self._engine.now_us - self._jumped_us

    @property
    def busy_us(self) -> int:
        """The time in which the engine computed."""
        return self._engine.busy_ps // PS_PER_US

    @property
    def heal_share(self) -> float:
        """Calls of ``decide`` since the heal, as a share of their bound."""
        return self.heal_decides / max(1, self.heal_bound)

    def _striking(self, fault: Fault) -> Callable[[int], None]:
        return lambda now_us: self._strike(fault, now_us)

    # Time

    def _deliver(self, until_us: int) -> None:
        """Deliver what is due, after a jump of the clock too; ``decide`` in between where the plan says so."""
        heap = self._heap
        while heap and heap[0][0] <= max(until_us, self._engine.now_us):
            time_us = heap[0][0]
            super()._deliver(time_us)
            if self._plan.eager:
                self._decide(time_us)

    def _decide(self, now_us: int) -> None:
        super()._decide(now_us)
        self.witness.passed(self._core)
        self._hear_refusals(now_us)

    def _carry_out(self, decision: Decision, now_us: int) -> None:
        super()._carry_out(decision, now_us)
        if isinstance(decision, WakeAt):
            self._at(decision.at_us, _nothing)

    # Batches

    def _run_batch(self, batch: RunBatch) -> None:
        fault = self._taken(Target.BATCH)
        if fault is None:
            super()._run_batch(batch)
        elif fault.kind is FaultKind.BATCH_LOST or fault.kind is FaultKind.BATCH_VOID:
            self._engine.wait_until(self._engine.now_us + (fault.span_us or self._profile.step_ns // 1000))
            self._deliver(self._engine.now_us)
            if fault.kind is FaultKind.BATCH_VOID or self._healing:
                self._report(batch, 0, ())
            else:
                self._lose(batch, fault)
        else:
            self._run_badly(batch, fault)

    def _lose(self, batch: RunBatch, fault: Fault) -> None:
        now_us = self._engine.now_us
        self._batch = None
        self._handle(BatchOverdue(now_us, batch.batch_id))
        self._lost_batches[batch.batch_id] = fault.pick % (batch.max_steps + 1)
        self._vanished(self._failed, now_us)
        self._settle((), now_us)
        if fault.span_us is not None:
            self._at(now_us + fault.span_us, lambda time_us: self._batch_found(batch.batch_id, time_us))

    def _run_badly(self, batch: RunBatch, fault: Fault) -> None:
        """Run a batch in which turns fail, or that is late."""
        steps, ended = self._engine.run(batch, self._batch_turns, self._next_us())
        names = [chunk.turn_id for chunk in batch.chunks]
        failed: list[str] = []
        if fault.kind is FaultKind.BATCH_FAILED:
            failed, steps = names, fault.pick % (steps + 1)
        elif fault.kind is FaultKind.TURN_FAILED:
            failed = [names[fault.pick % len(names)]]
        else:
            self._engine.wait_until(self._engine.now_us + (fault.span_us or 0))
        outcomes = [outcome for outcome in ended if outcome.turn_id not in failed]
        outcomes += [TurnOutcome(turn_id, Outcome.FAILED) for turn_id in failed]
        self._deliver(self._engine.now_us)
        self._report(batch, steps, outcomes)

    def _report(self, batch: RunBatch, steps: int, ended: Sequence[TurnOutcome]) -> None:
        now_us = self._engine.now_us
        self._batch = None
        ended = [self._at_length(outcome) for outcome in ended]
        self._handle(BatchDone(now_us, batch.batch_id, steps, tuple(ended)))
        self._settle(ended, now_us)

    def _at_length(self, outcome: TurnOutcome) -> TurnOutcome:
        """An answer that fills what its client allowed was cut there."""
        event, _ = self._sent.get(outcome.turn_id, (None, 0))
        full = event is not None and self._turns[outcome.turn_id].spec.output_tokens == event.max_output_tokens
        return evolve(outcome, outcome=Outcome.LENGTH) if full and outcome.outcome is Outcome.FINAL else outcome

    # The heal

    def _heal(self, now_us: int) -> None:
        self._healing = True
        for armed in self._armed.values():
            armed.clear()
        for batch_id in list(self._lost_batches):
            self._batch_found(batch_id, now_us)
        for op_id in list(self._lost_copies):
            self._copy_found(op_id, now_us)
        if self._plan.drains:
            self._handle(Drain(now_us))
        stuck, self._stuck = self._stuck, []
        for agent in stuck:
            self._at(now_us, partial(self._send_stage, agent))
        turns = [turn for agent in self._at_work.values() for stage in agent.stages[agent.stage :] for turn in stage]
        tokens = sum(turn.context_tokens + turn.output_tokens for turn in turns)
        self.heal_bound = rest_bound(len(turns), tokens, self._limits.preemptions_max)

    def _count_healing(self) -> None:
        """Demand progress: LIVE-4."""
        if self._healing:
            self.heal_decides += 1
            if self.heal_decides > self.heal_bound:
                jobs = f"{len(self._at_work)} jobs, {min(self._at_work)!r} among them"
                raise InvariantError("LIVE-4", f"{self.heal_decides} calls of decide after the heal {jobs} are live")

    def _rest(self) -> None:
        """Close every session and demand that nothing is left and every block is back."""
        now_us = self._engine.now_us
        view = self._core.snapshot()
        for key in sorted({(cache.tenant, cache.session_id) for cache in view.caches if cache.context_id}):
            self._handle(SessionClosed(now_us, *key))
        self._decide(now_us)
        view = self._core.snapshot()
        if view.turns or view.jobs:
            raise InvariantError("LIVE-4", f"turns {view.turns} and jobs {view.jobs} are live after everything ended")
        idle = sum(prefix.device_blocks for prefix in view.prefixes if not prefix.holders)
        if view.caches or view.device_free + idle != view.device_blocks or view.host_free != view.host_blocks:
            device = f"{view.device_free} + {idle} of shared prefixes of {view.device_blocks} device blocks"
            host = f"{view.host_free} of {view.host_blocks} host blocks"
            raise InvariantError("INV-1", f"{device} and {host} are free after everything ended: {view.caches}")
        self.witness.ended(self._digest.hexdigest())


def _nothing(_now_us: int) -> None:
    """Let time come to an instant, so that ``decide`` is called then."""
