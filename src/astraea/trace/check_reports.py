"""The events of a trace, applied to the checker's records: legal for a driver, one end a turn, each token once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from astraea.decisions import Reason, Refuse
from astraea.errors import ContractError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Event,
    JobCancelled,
    Outcome,
    SessionClosed,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)
from astraea.policy.limits import Limits
from astraea.policy.tables import TurnInput, TurnState
from astraea.trace.check_batches import check_outcomes, run_steps
from astraea.trace.check_copies import Copies
from astraea.trace.check_jobs import Jobs
from astraea.trace.check_memory import Memory
from astraea.trace.check_records import Batch, Context, Holding, Job, Turn, broken

__all__ = ["Reports"]


class Reports:
    """The state of a run as its events leave it; decisions change it in :mod:`astraea.trace.check_decisions`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jobs = Jobs()
        self.memory = Memory(limits)
        self.copies = Copies(self.memory, self.jobs.sessions)
        self.batch: Batch | None = None
        self.overdue: dict[int, list[tuple[Holding, Turn]]] = {}
        """What each overdue batch froze."""
        self.refusals: defaultdict[str, list[Refuse]] = defaultdict(list)
        """Refusals of the ``decide`` that follows, by turn: at arrival, or where quarantine left too little."""
        self.refused = 0
        self.draining = False
        self.news = False
        """Whether something happened since turns were last placed, beyond steps that went as planned."""
        self.line = 0
        self.now_us = 0
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            BatchDone: self._batch_done,
            BatchOverdue: self._batch_overdue,
            Drain: self._drain,
            JobCancelled: self._job_cancelled,
            SessionClosed: self._session_closed,
            SwapDone: self._swap_done,
            SwapOverdue: self._swap_overdue,
            ToolReturned: self._tool_returned,
            TurnArrived: self._arrived,
            TurnCancelled: self._turn_cancelled,
        }

    def happened(self, event: Event, line: int) -> None:
        """Apply one event; raise where the driver or an outcome breaks a rule."""
        self.line = line
        self.clock(event.now_us)
        self.news = self.news or not isinstance(event, BatchDone)
        self._handlers[type(event)](event)

    def clock(self, now_us: int) -> None:
        """Let time go on; it never runs backwards."""
        if now_us < self.now_us:
            raise ContractError("clock-backwards", f"now_us {now_us} is before {self.now_us}")
        self.now_us = now_us

    # Arrivals and tools

    def _arrived(self, event: TurnArrived) -> None:
        self.jobs.check_arrival(event)
        blocks, usable = self.limits.blocks_for(event.context_tokens + event.max_output_tokens), self.memory.usable
        told = self.refusals.get(event.turn_id)
        if told and not (told[0].because.reason is Reason.NEVER_FITS and blocks <= usable):
            told.pop(0)
            self.refused += 1
            return
        if blocks > usable:
            broken("INV-5", f"turn {event.turn_id!r} of {blocks} blocks is admitted; {usable} blocks are usable")
        if self.draining and self.jobs.joined(event) is None:
            broken("LIMITS", f"turn {event.turn_id!r} starts a job after Drain")
        session = self.jobs.sessions.get((event.tenant, event.session_id))
        is_new = session is None or event.context_id not in session.contexts
        context = self.jobs.arrive(event, self.line).context
        if len(self.jobs.turns) > self.limits.turns_max:
            broken("LIMITS", f"{len(self.jobs.turns)} turns are live; turns_max is {self.limits.turns_max}")
        self.memory.arrived(event, context, is_new=is_new)

    def _tool_returned(self, event: ToolReturned) -> None:
        context = self.jobs.session(event.tenant, event.session_id).contexts.get(event.context_id)
        if context is None or not context.waits_for_tool:
            raise ContractError("no-tool-wait", f"context {event.context_id!r} waits for no tool")

    # Batches

    def _batch_done(self, event: BatchDone) -> None:
        frozen = self.overdue.pop(event.batch_id, None)
        if frozen is not None:
            self.news = True
            for holding, turn in frozen:
                self.memory.let_go(holding.prefix, turn, trusted=False)
                self.memory.thaw(holding)
            return
        batch = self.batch
        if batch is None or batch.batch_id != event.batch_id:
            raise ContractError("unknown-batch", f"batch {event.batch_id} is not owed")
        if not 0 <= event.steps <= batch.max_steps:
            raise ContractError("bad-steps", f"batch {event.batch_id} may run 0 to {batch.max_steps} steps")
        self.batch = None
        failed = {outcome.turn_id for outcome in event.ended if outcome.outcome is Outcome.FAILED}
        sampled = run_steps(batch, event.steps, self.memory, failed)
        stopping = [turn for turn in batch.members.values() if turn.state is TurnState.STOPPING]
        self.news = self.news or bool(event.ended or stopping)
        check_outcomes(batch, event, sampled, self.jobs.ended)
        for outcome in event.ended:
            turn = batch.members[outcome.turn_id]
            if turn.state is TurnState.RUNNING:
                self._end(turn, outcome)
        for turn in stopping:
            self.memory.end_run(turn, trusted=turn.turn_id not in failed)
            self.jobs.move(turn, TurnInput.BATCH_DONE, self.line)
            self.jobs.end_if_done(turn.job)

    def _batch_overdue(self, event: BatchOverdue) -> None:
        batch = self.batch
        if batch is None or batch.batch_id != event.batch_id:
            raise ContractError("unknown-batch", f"batch {event.batch_id} is not owed")
        self.batch = None
        frozen = []
        for turn in batch.members.values():
            holding = turn.context.holding
            self.memory.freeze(holding, turn)
            frozen.append((holding, turn))
            self.jobs.move(turn, TurnInput.BATCH_OVERDUE, self.line)
        self.overdue[batch.batch_id] = frozen
        for turn in batch.members.values():
            turn.job.over = turn.job.over or turn.state is TurnState.FAILED
            self.jobs.end_if_done(turn.job)
        self._squeeze()

    # Copies

    def _swap_overdue(self, event: SwapOverdue) -> None:
        copy = self.copies.copy_of(event.op_id)
        self.copies.overdue(copy)
        self._turn_back(copy.holding.context, TurnInput.SWAP_OVERDUE)
        self._squeeze()

    def _swap_done(self, event: SwapDone) -> None:
        copy = self.copies.copy_of(event.op_id)
        holding = copy.holding
        alive = not holding.frozen and not holding.closed_line
        self.copies.done(copy, failed=event.failed)
        if alive:
            self._turn_back(holding.context, TurnInput.SWAP_FAILED if event.failed else TurnInput.SWAP_DONE)

    def _turn_back(self, context: Context, happened: TurnInput) -> None:
        turn = context.turn
        if turn is not None and turn.state is TurnState.RETURNING:
            self.jobs.move(turn, happened, self.line)

    # Ends

    def _turn_cancelled(self, event: TurnCancelled) -> None:
        turn = self.jobs.turns.get(event.turn_id)
        if turn is None or turn.state is TurnState.STOPPING:
            raise ContractError("unknown-turn", f"turn {event.turn_id!r} is not live")
        self._cancel(turn)

    def _job_cancelled(self, event: JobCancelled) -> None:
        job = self.jobs.jobs.get((event.tenant, event.job_id))
        if job is None:
            raise ContractError("unknown-job", f"job {event.job_id!r} is not live")
        self._abandon(job)

    def _drain(self, event: Drain) -> None:
        self.draining = True

    def _end(self, turn: Turn, outcome: TurnOutcome) -> None:
        failed = outcome.outcome is Outcome.FAILED
        self.memory.end_run(turn, trusted=not failed)
        self.jobs.move(turn, TurnInput.FAIL if failed else TurnInput.FINISH, self.line)
        if outcome.outcome is Outcome.TOOL_CALL:
            self.jobs.call_tool(turn.context)
        else:
            turn.job.over = True
            self.jobs.end_if_done(turn.job)

    def _cancel(self, turn: Turn) -> None:
        if self.batch is not None and turn.turn_id in self.batch.members:
            self.jobs.move(turn, TurnInput.CANCEL_IN_BATCH, self.line)
            return
        if turn.state is TurnState.RUNNING:
            self.memory.end_run(turn, trusted=True)
        self.jobs.move(turn, TurnInput.CANCEL, self.line)
        self.jobs.end_if_done(turn.job)

    def _abandon(self, job: Job) -> None:
        job.over = False  # it ends below, not with one of its turns
        for turn in list(job.turns.values()):
            if turn.state is not TurnState.STOPPING:
                self._cancel(turn)
        self.jobs.end(job)

    def _session_closed(self, event: SessionClosed) -> None:
        session = self.jobs.session(event.tenant, event.session_id)
        if session.job is not None:
            self._abandon(session.job)
        for context in session.contexts.values():
            turn = context.turn
            if turn is not None and turn.state is not TurnState.STOPPING:
                self._cancel(turn)
            self.jobs.forget_wait(context)
            self.memory.close(context, self.line, in_batch=context.turn is not None)
            job, context.job = context.job, None
            if job is not None:
                self.jobs.end_if_done(job)
        del self.jobs.sessions[event.tenant, event.session_id]

    def _squeeze(self) -> None:
        """End the turns that the next ``decide`` refuses because quarantine left too little (rule 9)."""
        usable = self.memory.usable
        for turn in list(self.jobs.turns.values()):
            told = self.refusals.get(turn.turn_id)
            if not told or turn.state is TurnState.STOPPING or self.limits.blocks_for(turn.max_tokens) <= usable:
                continue
            told.pop(0)
            self.refused += 1
            turn.job.over = True
            if self.batch is not None and turn.turn_id in self.batch.members:
                self.jobs.move(turn, TurnInput.SQUEEZE_IN_BATCH, self.line)
                continue
            if turn.state is TurnState.RUNNING:
                self.memory.end_run(turn, trusted=True)
            self.jobs.move(turn, TurnInput.SQUEEZE, self.line)
            self.jobs.end_if_done(turn.job)
