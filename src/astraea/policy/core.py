"""The scheduler: three verbs over one engine's turns and KV.

``handle(event)`` takes in what happened, all or nothing. ``decide(now_us)`` returns what the driver now owes.
``snapshot()`` shows the state. Nothing here reads a clock, draws a number, logs or does I/O; the same events at the
same times give the same decisions, byte for byte (INV-7).

One batch is in flight at a time, and everything is decided between batches: while one is in flight ``decide`` returns
refusals only. Everything that ``handle`` refuses it refuses before it changes anything (INV-8).
"""

from __future__ import annotations

from attrs import define

from astraea.decisions import Because, Decision, Reason, Refuse, RunBatch, WakeAt
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
from astraea.policy.admission import Admission
from astraea.policy.astraea import astraea_policy
from astraea.policy.batching import Batching
from astraea.policy.copies import Copies
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prefixes import Prefixes
from astraea.policy.protocol import Policy
from astraea.policy.registry import Registry
from astraea.policy.snapshot import Snapshot, take_snapshot
from astraea.policy.state import Context, Holding, Job, Turn
from astraea.policy.tables import KvState, TurnInput, TurnState

__all__ = ["Scheduler"]


@define(slots=True, eq=False)
class _InFlight:
    """The batch that is owed a report."""

    batch_id: int
    max_steps: int
    turns: dict[str, Turn]


@define(slots=True, eq=False)
class _Frozen:
    """An overdue batch: what it may still be computing on."""

    holdings: list[tuple[Holding, Turn]]


class Scheduler:
    """Schedules the turns of many agents on one engine."""

    def __init__(self, limits: Limits, policy: Policy | None = None) -> None:
        self.limits = limits
        self.policy = astraea_policy(limits) if policy is None else policy
        self._out: list[Decision] = []
        self._ledger = Ledger(limits)
        self._prefixes = Prefixes(self._ledger, self._out)
        self._kv = KvCaches(self._ledger, self._prefixes, self._out)
        self._copies = Copies(self._kv)
        self._guard = BypassGuard(limits.bypass_max if self.policy.guarded else None)
        self._registry = Registry(limits, self.policy, self._kv, self._guard)
        self._admission = Admission(limits, self.policy, self._kv, self._copies, self._guard)
        self._batching = Batching(limits, self._kv, self._admission)
        self._in_flight: _InFlight | None = None
        self._frozen: dict[int, _Frozen] = {}
        self._next_batch = 1
        self._now_us = 0
        self._changed = False
        self._draining = False
        self._wake_us: int | None = None

    # What happened

    def handle(self, event: Event) -> None:
        """Take in one event.

        Raises :class:`ContractError`, with nothing changed, where the event is not legal now.
        """
        if event.now_us < self._now_us:
            raise ContractError("clock-backwards", f"now_us {event.now_us} is before {self._now_us}")
        if type(event) is BatchDone:
            self._batch_done(event)
        else:
            handler = _HANDLERS.get(type(event))
            if handler is None:
                raise ContractError("unknown-event", f"{type(event).__name__} is not an event")
            handler(self, event)
            self._changed = True
        self._now_us = event.now_us

    def _turn_arrived(self, event: TurnArrived) -> None:
        registry, limits = self._registry, self.limits
        registry.check_arrival(event)
        reason, retry_us = self._why_refused(event)
        if reason is not None:
            numbers = (("max_tokens", event.context_tokens + event.max_output_tokens),)
            numbers = (*numbers, ("usable_blocks", self._ledger.device_usable), ("live_turns", len(registry.turns)))
            self._out.append(Refuse(event.turn_id, retry_us, Because(reason, numbers)))
            return
        turn = registry.arrive(event)
        self._admission.wait(turn, event.now_us)
        assert limits.blocks_for(turn.max_tokens) <= self._ledger.device_usable

    def _why_refused(self, event: TurnArrived) -> tuple[Reason | None, int | None]:
        limits, registry = self.limits, self._registry
        blocks = limits.blocks_for(event.context_tokens + event.max_output_tokens)
        if blocks > self._ledger.device_usable:
            return Reason.NEVER_FITS, None
        if limits.tenant_kv_blocks_max is not None and blocks > limits.tenant_kv_blocks_max:
            return Reason.TENANT_KV_FULL, None
        if self._draining:
            return Reason.DRAINING, None
        if len(registry.turns) >= limits.turns_max:
            return Reason.QUEUE_FULL, limits.retry_after_us
        if registry.tenant_turns.get(event.tenant, 0) >= limits.tenant_turns_max:
            return Reason.TENANT_QUEUE_FULL, limits.retry_after_us
        return None, None

    def _turn_cancelled(self, event: TurnCancelled) -> None:
        turn = self._registry.turns.get(event.turn_id)
        if turn is None or turn.state is TurnState.STOPPING:
            raise ContractError("unknown-turn", f"turn {event.turn_id!r} is not live")
        self._cancel(turn, event.now_us)

    def _job_cancelled(self, event: JobCancelled) -> None:
        job = self._registry.jobs.get((event.tenant, event.job_id))
        if job is None:
            raise ContractError("unknown-job", f"job {event.job_id!r} is not live")
        self._abandon(job, event.now_us)

    def _tool_returned(self, event: ToolReturned) -> None:
        session = self._registry.sessions.get((event.tenant, event.session_id))
        context = session.contexts.get(event.context_id) if session is not None else None
        if context is None or not context.waits_for:
            raise ContractError("no-tool-wait", f"context {event.context_id!r} waits for no tool")
        self._registry.tool_returned(context, event.now_us)

    def _session_closed(self, event: SessionClosed) -> None:
        session = self._registry.sessions.get((event.tenant, event.session_id))
        if session is None:
            raise ContractError("unknown-session", f"session {event.session_id!r} is not known")
        if session.job is not None:
            self._abandon(session.job, event.now_us)
        for context in session.contexts.values():
            turn = context.turn
            if turn is not None and turn.state is not TurnState.STOPPING:
                self._cancel(turn, event.now_us)
            self._kv.close(context, in_batch=context.turn is not None)
        del self._registry.sessions[event.tenant, event.session_id]

    def _drain(self, event: Drain) -> None:
        self._draining = True

    # Reports

    def _batch_done(self, event: BatchDone) -> None:
        frozen = self._frozen.pop(event.batch_id, None)
        if frozen is not None:
            for holding, turn in frozen.holdings:
                self._kv.batch_reported(holding, turn)
            self._changed = True
            return
        flight = self._check_batch_done(event)
        batching = self._batching
        batching.advance(event.steps)
        self._in_flight = None
        stopping = [t for t in flight.turns.values() if t.state is TurnState.STOPPING]
        if not event.ended and not stopping:
            return
        self._changed = True
        batching.settle()
        for outcome in event.ended:
            turn = flight.turns[outcome.turn_id]
            if turn.state is TurnState.RUNNING:
                self._end_turn(turn, outcome, event.now_us)
        for turn in stopping:
            self._stopped(turn)

    def _check_batch_done(self, event: BatchDone) -> _InFlight:
        flight = self._in_flight
        if flight is None or flight.batch_id != event.batch_id:
            raise ContractError("unknown-batch", f"batch {event.batch_id} is not owed")
        if not 0 <= event.steps <= flight.max_steps:
            raise ContractError("bad-steps", f"batch {event.batch_id} may run 0 to {flight.max_steps} steps")
        self._batching.advance(event.steps)
        try:
            self._check_outcomes(event, flight)
        finally:
            self._batching.advance(-event.steps)
        return flight

    def _check_outcomes(self, event: BatchDone, flight: _InFlight) -> None:
        ended = {outcome.turn_id: outcome for outcome in event.ended}
        if len(ended) != len(event.ended):
            raise ContractError("ended-twice", "a turn is reported as ended twice")
        for outcome in event.ended:
            turn = flight.turns.get(outcome.turn_id)
            if turn is None:
                raise ContractError("not-in-batch", f"turn {outcome.turn_id!r} is not in batch {event.batch_id}")
            if outcome.outcome is Outcome.FAILED or turn.state is TurnState.STOPPING:
                continue
            if not event.steps or not self._batching.sampled_in_last_step(turn):
                raise ContractError("ended-unsampled", f"turn {outcome.turn_id!r} sampled no token in the last step")
            if outcome.outcome is Outcome.TOOL_CALL and not outcome.tool:
                raise ContractError("tool-unnamed", f"turn {outcome.turn_id!r} called a tool without a name")
        if event.steps == flight.max_steps:
            for turn in self._batching.reaches_maximum():
                if turn.turn_id not in ended and turn.state is TurnState.RUNNING:
                    raise ContractError("over-maximum", f"turn {turn.turn_id!r} reached its maximum and must end")

    def _batch_overdue(self, event: BatchOverdue) -> None:
        flight = self._in_flight
        if flight is None or flight.batch_id != event.batch_id:
            raise ContractError("unknown-batch", f"batch {event.batch_id} is not owed")
        self._batching.settle()
        self._in_flight = None
        holdings = []
        for turn in flight.turns.values():
            holdings.append((self._kv.batch_overdue(turn), turn))
            self._admission.stop(turn)
            turn.take(TurnInput.BATCH_OVERDUE)
            self._registry.forget_turn(turn)
        self._frozen[event.batch_id] = _Frozen(holdings)
        for turn in flight.turns.values():
            if turn.state is TurnState.FAILED:
                self._end_job_if_done(turn.job, answered=False)
        self._squeeze(event.now_us)

    def _swap_done(self, event: SwapDone) -> None:
        op = self._copies.ops.get(event.op_id)
        if op is None:
            raise ContractError("unknown-swap", f"copy {event.op_id} is not owed")
        holding = op.holding
        alive = holding.state is KvState.LEAVING or holding.state is KvState.RETURNING
        self._copies.end(op, failed=event.failed)
        if alive:
            happened = TurnInput.SWAP_FAILED if event.failed else TurnInput.SWAP_DONE
            self._turn_back(op.context.turn, happened, event.now_us)

    def _swap_overdue(self, event: SwapOverdue) -> None:
        op = self._copies.ops.get(event.op_id)
        if op is None or op.holding.state is KvState.QUARANTINED:
            raise ContractError("unknown-swap", f"copy {event.op_id} is not owed")
        self._copies.overdue(op)
        self._turn_back(op.context.turn, TurnInput.SWAP_OVERDUE, event.now_us)
        self._squeeze(event.now_us)

    def _turn_back(self, turn: Turn | None, happened: TurnInput, now_us: int) -> None:
        """Let the turn whose context was copied go on from what the copy left."""
        if turn is None:
            return
        if turn.state is TurnState.RETURNING:
            turn.take(happened)
        self._admission.renew(turn, now_us)

    # Ends

    def _end_turn(self, turn: Turn, outcome: TurnOutcome, now_us: int) -> None:
        """End a running turn as the batch reported it."""
        failed = outcome.outcome is Outcome.FAILED
        context, job = turn.context, turn.job
        self._admission.stop(turn)
        self._kv.end_run(turn, trusted=not failed)
        turn.take(TurnInput.FAIL if failed else TurnInput.FINISH)
        self._registry.forget_turn(turn)
        context.size = turn.size
        to_tool = outcome.outcome is Outcome.TOOL_CALL
        if not failed:
            self.policy.turn_ended(turn, context.last_tool, to_tool=to_tool)
        context.last_tool = ""
        if to_tool:
            self._registry.call_tool(context, outcome.tool or "", now_us)
            context.keep_until_us = self.policy.memory.keep_until_us(context, self._ledger, now_us)
        else:
            self._end_job_if_done(job, answered=not failed)

    def _end_job_if_done(self, job: Job, *, answered: bool) -> None:
        if not job.turns and not job.tool_waits and self._registry.jobs.get((job.tenant, job.job_id)) is job:
            self._registry.end_job(job, answered=answered)

    def _cancel(self, turn: Turn, now_us: int) -> None:
        """End a live turn whose client no longer wants it."""
        if turn.turn_id in (self._in_flight.turns if self._in_flight else ()):
            turn.take(TurnInput.CANCEL_IN_BATCH)
            return
        self._leave(turn, now_us)
        turn.take(TurnInput.CANCEL)
        self._registry.forget_turn(turn)

    def _leave(self, turn: Turn, now_us: int) -> None:
        """Take a turn that is not in flight out of the batch or the queue."""
        if turn.state is TurnState.RUNNING:
            self._batching.settle()
            self._admission.stop(turn)
            self._kv.end_run(turn, trusted=True)
        else:
            self._admission.unwait(turn, now_us)

    def _stopped(self, turn: Turn) -> None:
        """End a turn that was cancelled in flight: its batch is reported."""
        self._admission.stop(turn)
        if turn.context.holding.state is KvState.DEVICE_DEAD:
            self._kv.bury(turn)
        else:
            self._kv.end_run(turn, trusted=True)
        turn.take(TurnInput.BATCH_DONE)
        self._registry.forget_turn(turn)

    def _abandon(self, job: Job, now_us: int) -> None:
        """End a job without an answer, and all its turns."""
        for turn in list(job.turns.values()):
            if turn.state is not TurnState.STOPPING:
                self._cancel(turn, now_us)
        self._registry.end_job(job, answered=False)

    def _squeeze(self, now_us: int) -> None:
        """End every admitted turn that no longer fits beside what is quarantined (rule 9)."""
        usable = self._ledger.device_usable
        for turn in list(self._registry.turns.values()):
            blocks = self.limits.blocks_for(turn.max_tokens)
            if blocks <= usable or turn.state is TurnState.STOPPING:
                continue
            numbers = (("max_blocks", blocks), ("usable_blocks", usable))
            self._out.append(Refuse(turn.turn_id, None, Because(Reason.NEVER_FITS, numbers)))
            if self._in_flight is not None and turn.turn_id in self._in_flight.turns:
                turn.take(TurnInput.SQUEEZE_IN_BATCH)
                continue
            self._leave(turn, now_us)
            turn.take(TurnInput.SQUEEZE)
            self._registry.forget_turn(turn)
            self._end_job_if_done(turn.job, answered=False)

    # What is owed

    def decide(self, now_us: int) -> list[Decision]:
        """Return what the driver owes from now on, in the order in which it is to be carried out.

        Raises :class:`ContractError` where the clock ran backwards.
        """
        if now_us < self._now_us:
            raise ContractError("clock-backwards", f"now_us {now_us} is before {self._now_us}")
        self._now_us = now_us
        if self._in_flight is None:
            batching = self._batching
            if self._changed or (self._wake_us is not None and now_us >= self._wake_us):
                self._replan(now_us)
            elif not batching.steps_left and self._admission.running:
                batching.settle()
                self._admission.now_us = now_us
                batching.grow()
                batching.plan()
                self._run(Reason.CHANGED)
            elif batching.steps_left:
                self._run(Reason.STEADY)
        decisions, self._out[:] = self._out[:], []
        return decisions

    def _replan(self, now_us: int) -> None:
        self._changed = False
        batching, admission = self._batching, self._admission
        batching.settle()
        admission.now_us = now_us
        batching.grow()
        admission.place_turns(now_us)
        if admission.running:
            batching.plan()
            self._run(Reason.CHANGED)
        self._wake()

    def _run(self, reason: Reason) -> None:
        batching, admission = self._batching, self._admission
        dispatched, admission.dispatched = tuple(admission.dispatched), []
        batch_id, self._next_batch = self._next_batch, self._next_batch + 1
        numbers = (("running_turns", len(admission.running)), ("free_blocks", self._ledger.device_free))
        if reason is Reason.CHANGED:
            self._members = {t.turn_id: t for t in admission.running.values()}
        self._in_flight = _InFlight(batch_id, batching.steps_left, self._members)
        self._out.append(
            RunBatch(batch_id, batching.chunks, batching.steps_left, Because(reason, numbers), dispatched)
        )

    def _wake(self) -> None:
        """Ask to be called when a kept cache is to be judged again, where turns wait for room."""
        wake = None
        if len(self.policy.queue):
            wake = self._admission.next_judgement_us()
        if wake != self._wake_us:
            self._wake_us = wake
            if wake is not None:
                self._out.append(WakeAt(wake, Because(Reason.RE_JUDGE, (("waiting_turns", len(self.policy.queue)),))))

    def snapshot(self) -> Snapshot:
        """Return an immutable view of everything: equal views mean equal futures."""
        return take_snapshot(self)


_HANDLERS = {
    TurnArrived: Scheduler._turn_arrived,
    TurnCancelled: Scheduler._turn_cancelled,
    JobCancelled: Scheduler._job_cancelled,
    BatchOverdue: Scheduler._batch_overdue,
    ToolReturned: Scheduler._tool_returned,
    SwapDone: Scheduler._swap_done,
    SwapOverdue: Scheduler._swap_overdue,
    SessionClosed: Scheduler._session_closed,
    Drain: Scheduler._drain,
}
