"""Where faults strike: the layer between clients and engine on one side and the scheduler on the other.

Reports, arrivals and tools pass through here on their way; a fault that is armed for one bends the next that comes.
What strikes at its time acts like a client, or turns the clock.
"""

from __future__ import annotations

from collections import deque

from attrs import evolve

from astraea.decisions import SwapIn, SwapOut
from astraea.errors import ContractError, InvariantError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Event,
    Hints,
    JobCancelled,
    Oracle,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
)
from astraea.simulator.agents import Agent
from astraea.simulator.torture.departures import Departures
from astraea.simulator.torture.estimates import MODES, MadEstimates
from astraea.simulator.torture.faults import TARGETS, Fault, FaultKind, Target

__all__ = ["Strikes"]

_ABSURD = (None, 0, -5, 10**15)
_REPORTS = (BatchDone, BatchOverdue, SwapDone, SwapOverdue, TurnCancelled, JobCancelled)
_PATIENCE_COPIES = 2
"""A copy is overdue after so many times the time that it should take, queueing included."""


class Strikes(Departures):
    """Clients and an engine to which faults happen."""

    def _begin_strikes(self) -> None:
        self._begin_clients()
        self._armed: dict[Target, deque[Fault]] = {target: deque() for target in Target}
        self._copies: set[int] = set()
        """Copies that will be reported."""
        self._lost_batches: dict[int, int] = {}
        """Overdue batches, and how many steps their late report tells of."""
        self._lost_copies: dict[int, bool] = {}
        """Overdue copies, and whether their late report says that they failed."""
        self._stuck: list[Agent] = []
        """Agents whose tools do not return before the heal."""
        self._jumped_us = 0

    def _strike(self, fault: Fault, now_us: int) -> None:
        """Arm a fault, or let it happen."""
        if self._healing:
            return
        target = TARGETS[fault.kind]
        if target is not Target.MOMENT:
            self._armed[target].append(fault)
            return
        self.witness.faults[fault.kind] += 1
        span_us = fault.span_us or 0
        match fault.kind:
            case FaultKind.TURN_CANCELLED:
                self._cancel_any_turn(fault.pick, now_us)
            case FaultKind.JOB_CANCELLED:
                self._cancel_any_job(fault.pick, now_us)
            case FaultKind.SESSION_CLOSED:
                self._close_any(fault.pick, now_us)
            case FaultKind.ARRIVALS_HELD:
                self._door_opens_us = max(self._door_opens_us, now_us + span_us)
            case FaultKind.LINK_STALLED:
                self._engine.stall_link(span_us)
            case FaultKind.CLOCK_JUMPED:
                self._jumped_us += span_us
                self._engine.wait_until(self._engine.now_us + span_us)
            case _:
                self._go_mad(fault, now_us)

    def _taken(self, target: Target) -> Fault | None:
        """Take the fault that strikes the next of its target, if one is armed."""
        armed = self._armed[target]
        if not armed:
            return None
        self.witness.faults[armed[0].kind] += 1
        return armed.popleft()

    def _go_mad(self, fault: Fault, now_us: int) -> None:
        policy = self._policy
        assert isinstance(policy, MadEstimates)
        policy.mode = MODES[fault.pick % len(MODES)]

        def recover(_now_us: int) -> None:
            policy.mode = ""

        if fault.span_us is not None:
            self._at(now_us + fault.span_us, recover)

    # Arrivals and tools

    def _bent(self, event: TurnArrived) -> TurnArrived:
        fault = self._taken(Target.ARRIVAL)
        if fault is None:
            return event
        pick = fault.pick
        if fault.kind is FaultKind.HISTORY_EDITED:
            kept = event.reusable_tokens * (pick % 8) // 8
            prefix = event.shared_prefix
            named = prefix is not None and (prefix.tokens <= kept or pick % 3 == 0)
            return evolve(event, reusable_tokens=kept, shared_prefix=prefix if named else None)
        if fault.kind is FaultKind.HINTS_ABSURD:
            absurd = _ABSURD[pick % len(_ABSURD)]
            oracle = None if absurd is None else Oracle(absurd, absurd)
            return evolve(event, hints=Hints(absurd, absurd, "nobody", oracle or event.hints.oracle))
        parents = [job.job_id for job in self._core.snapshot().jobs if job.tenant == event.tenant]
        parent = parents[pick % len(parents)] if parents else None
        return evolve(event, hints=evolve(event.hints, parent_job_id=parent))

    def _await_tools(self, agent: Agent) -> None:
        fault = self._taken(Target.TOOL)
        if fault is not None and fault.kind is FaultKind.TOOL_LOST and not self._healing:
            self._stuck.append(agent)
            return
        if fault is not None:
            self._at(agent.stage_ready_us, lambda now_us: self._tool_returns(agent, now_us))
            agent.stage_ready_us += 1 + fault.pick
        super()._await_tools(agent)

    def _tool_returns(self, agent: Agent, now_us: int) -> None:
        """Tell that the tool of an agent's main context has returned, if that waits for one still."""
        if agent.key in self._tool_told:
            return
        for cache in self._core.snapshot().caches:
            if (cache.tenant, cache.session_id, cache.context_id) == (*agent.key, "b0") and cache.waits_for:
                self._tool_told.add(agent.key)
                self._handle(ToolReturned(now_us, *agent.key, "b0"))

    # The link

    def _copy(self, decision: SwapOut | SwapIn) -> None:
        op_id, began_us = decision.op_id, self._engine.now_us
        arrives_us = self._engine.copy(decision.to_tokens - decision.from_tokens)
        fault = self._taken(Target.COPY)
        self._copies.add(op_id)
        if fault is not None and fault.kind is FaultKind.LEFT_IN_COPY:
            pick = fault.pick
            self._at((began_us + arrives_us) // 2, lambda now_us: self._leave_copied(decision, pick, now_us))
            fault = self._taken(Target.COPY)  # and the same copy may fail or be lost
        if fault is None or fault.kind is not FaultKind.COPY_LOST:
            failed = fault is not None and fault.kind is FaultKind.COPY_FAILED
            self._at(arrives_us, lambda now_us: self._copied(op_id, now_us, failed=failed))
        else:
            overdue_us = began_us + _PATIENCE_COPIES * (arrives_us - began_us)
            self._at(overdue_us, lambda now_us: self._copy_overdue(op_id, fault, now_us))

    def _copied(self, op_id: int, now_us: int, *, failed: bool) -> None:
        self._copies.remove(op_id)
        self._handle(SwapDone(now_us, op_id, failed))

    def _copy_overdue(self, op_id: int, fault: Fault, now_us: int) -> None:
        if self._healing:
            self._copied(op_id, now_us, failed=False)
            return
        self._handle(SwapOverdue(now_us, op_id))
        self._lost_copies[op_id] = fault.pick % 2 == 0
        if fault.span_us is not None:
            self._at(now_us + fault.span_us, lambda time_us: self._copy_found(op_id, time_us))

    def _copy_found(self, op_id: int, now_us: int) -> None:
        failed = self._lost_copies.pop(op_id, None)
        if failed is not None:
            self.witness.probes["late copy report"] += 1
            self._copied(op_id, now_us, failed=failed)

    def _batch_found(self, batch_id: int, now_us: int) -> None:
        steps = self._lost_batches.pop(batch_id, None)
        if steps is not None:
            self.witness.probes["late batch report"] += 1
            self._handle(BatchDone(now_us, batch_id, steps))

    # Reports

    def _handle(self, event: Event) -> None:
        self._tell(event)
        if isinstance(event, _REPORTS) and (fault := self._taken(Target.REPORT)) is not None:
            self._tell_twice(event if fault.pick % 4 else evolve(event, now_us=event.now_us - 1))

    def _tell(self, event: Event) -> None:
        try:
            super()._handle(event)
        except ContractError:
            self.witness.refused()
            raise
        self.witness.passed(self._core)

    def _tell_twice(self, event: Event) -> None:
        """Send what must be refused, and demand that it changes nothing."""
        before = self._core.snapshot()
        try:
            self._tell(event)
        except ContractError:
            if self._core.snapshot() != before:
                raise InvariantError("INV-8", f"{event} was refused and changed the scheduler") from None
        else:
            raise InvariantError("INV-8", f"{event} was told twice, or from the past, and taken in")
