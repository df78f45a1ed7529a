"""The scheduler: three verbs over one engine's turns and KV.

``handle(event)`` takes in what happened, all or nothing. ``decide(now_us)`` returns what the driver now owes.
``snapshot()`` shows the state. Nothing here reads a clock, draws a number, logs or does I/O; the same events at the
same times give the same decisions, byte for byte (INV-7).

Everything is decided between batches: while one is in flight ``decide`` returns refusals only. Everything that
``handle`` refuses it refuses before it changes anything (INV-8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astraea.decisions import Because, Decision, Reason, Refuse, RunBatch, WakeAt
from astraea.errors import ContractError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Event,
    JobCancelled,
    SessionClosed,
    SharedPrefix,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
)
from astraea.policy.admission import Admission
from astraea.policy.astraea import LearningPolicy
from astraea.policy.batching import Batching
from astraea.policy.copies import Copies
from astraea.policy.endings import Endings
from astraea.policy.evicting import Evicting
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prefixes import Prefixes
from astraea.policy.protocol import Policy
from astraea.policy.registry import Registry
from astraea.policy.reports import InFlight, Reports
from astraea.policy.running import Running
from astraea.policy.snapshot import Snapshot, take_snapshot
from astraea.policy.state import Turn
from astraea.policy.tables import TurnState
from astraea.policy.waiting import Waiting

__all__ = ["Scheduler"]


class Scheduler:
    """Schedules the turns of many agents on one engine."""

    def __init__(self, limits: Limits, policy: Policy | None = None) -> None:
        self.limits = limits
        self.policy = LearningPolicy(limits) if policy is None else policy
        self._out: list[Decision] = []
        self._ledger = Ledger(limits)
        self._prefixes = Prefixes(self._ledger, self._out)
        kv = self._kv = KvCaches(self._ledger, self._prefixes, self._out)
        copies = self._copies = Copies(kv)
        guard = self._guard = BypassGuard(limits.bypass_max if self.policy.guarded else None)
        registry = self._registry = Registry(limits, self.policy, kv, guard)
        waiting = self._waiting = Waiting(self.policy, kv, guard)
        running = self._running = Running(limits)
        evicting = Evicting(limits, kv, copies, waiting)
        batching = self._batching = Batching(limits, kv, waiting, running, evicting)
        self._admission = Admission(
            limits=limits, policy=self.policy, kv=kv, copies=copies, guard=guard, waiting=waiting, running=running,
            evicting=evicting,
        )  # fmt: skip
        endings = self._endings = Endings(
            limits=limits, policy=self.policy, kv=kv, registry=registry, waiting=waiting, running=running,
            batching=batching,
        )  # fmt: skip
        self._reports = Reports(
            policy=self.policy, kv=kv, copies=copies, registry=registry, waiting=waiting, running=running,
            batching=batching, endings=endings,
        )  # fmt: skip
        self._handlers: dict[type, Callable[[Any], None]] = {
            TurnArrived: self._turn_arrived,
            TurnCancelled: self._turn_cancelled,
            JobCancelled: self._job_cancelled,
            BatchOverdue: self._reports.batch_overdue,
            ToolReturned: self._tool_returned,
            SwapDone: self._reports.swap_done,
            SwapOverdue: self._reports.swap_overdue,
            SessionClosed: self._session_closed,
            Drain: self._drain,
        }
        self._next_batch = 1
        self._members: dict[str, Turn] = {}
        """The running turns by id, as of the last plan."""
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
            self._changed |= self._reports.batch_done(event)
        else:
            handler = self._handlers.get(type(event))
            if handler is None:
                raise ContractError("unknown-event", f"{type(event).__name__} is not an event")
            handler(event)
            self._changed = True
        self._now_us = event.now_us

    def _turn_arrived(self, event: TurnArrived) -> None:
        self._registry.check_arrival(event)
        reason, retry_us = self._why_refused(event)
        if reason is None:
            self._waiting.wait(self._registry.arrive(event), event.now_us)
            return
        numbers = (
            ("max_tokens", event.context_tokens + event.max_output_tokens),
            ("usable_blocks", self._ledger.device_usable),
            ("live_turns", len(self._registry.turns)),
        )
        self._out.append(Refuse(event.turn_id, retry_us, Because(reason, numbers)))

    def _why_refused(self, event: TurnArrived) -> tuple[Reason | None, int | None]:
        """Return why a turn is not admitted, and after how long to try again; INV-5 rests on the first check."""
        limits, registry = self.limits, self._registry
        blocks = limits.blocks_for(event.context_tokens + event.max_output_tokens)
        if blocks > self._ledger.device_usable:
            return Reason.NEVER_FITS, None if blocks > limits.device_blocks else limits.retry_after_us
        if limits.tenant_kv_blocks_max is not None and blocks > limits.tenant_kv_blocks_max:
            return Reason.TENANT_KV_FULL, None
        if self._draining and not registry.joins_live_job(event):
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
        self._endings.cancel(turn, event.now_us)

    def _job_cancelled(self, event: JobCancelled) -> None:
        job = self._registry.jobs.get((event.tenant, event.job_id))
        if job is None:
            raise ContractError("unknown-job", f"job {event.job_id!r} is not live")
        self._endings.abandon(job, event.now_us)

    def _tool_returned(self, event: ToolReturned) -> None:
        session = self._registry.sessions.get((event.tenant, event.session_id))
        context = session.contexts.get(event.context_id) if session is not None else None
        if context is None or not context.waits_for or context.tool_returned:
            raise ContractError("no-tool-wait", f"context {event.context_id!r} waits for no tool")
        self._registry.tool_returned(context, event.now_us)

    def _session_closed(self, event: SessionClosed) -> None:
        session = self._registry.sessions.get((event.tenant, event.session_id))
        if session is None:
            raise ContractError("unknown-session", f"session {event.session_id!r} is not known")
        self._endings.close(session, event.now_us)

    def _drain(self, event: Drain) -> None:
        self._draining = True

    # What is owed

    def decide(self, now_us: int) -> list[Decision]:
        """Return what the driver owes from now on, in the order in which it is to be carried out.

        Raises :class:`ContractError` where the clock ran backwards.
        """
        if now_us < self._now_us:
            raise ContractError("clock-backwards", f"now_us {now_us} is before {self._now_us}")
        self._now_us = now_us
        if self._reports.in_flight is None:
            if self._changed or (self._wake_us is not None and now_us >= self._wake_us):
                self._changed = False
                self._plan(now_us, place=True)
                self._wake()
            elif self._batching.steps_left:
                self._run(Reason.STEADY)
            elif self._running.turns:
                self._plan(now_us, place=False)
        decisions, self._out[:] = self._out[:], []
        return decisions

    def _plan(self, now_us: int, *, place: bool) -> None:
        """Grow the running turns, place waiting ones where something changed, and plan the next steps."""
        batching, running = self._batching, self._running.turns
        batching.settle()
        if batching.grow(now_us) or place:
            self._admission.place_turns(now_us)
        if running:
            batching.plan()
            self._members = {turn.turn_id: turn for turn in running.values()}
            self._run(Reason.CHANGED)

    def _run(self, reason: Reason) -> None:
        batching, admission = self._batching, self._admission
        dispatched, admission.dispatched = tuple(admission.dispatched), []
        batch_id, steps = self._next_batch, batching.steps_left
        self._next_batch += 1
        numbers = (("running_turns", len(self._running)), ("free_blocks", self._ledger.device_free))
        self._reports.expect(InFlight(batch_id, steps, self._members))
        self._out.append(RunBatch(batch_id, batching.chunks, steps, Because(reason, numbers), dispatched))

    def _wake(self) -> None:
        """Ask to be called when a kept cache is to be judged again, where turns wait for room."""
        waiting = len(self._waiting)
        wake_us = self._ledger.next_judgement_us(self._now_us) if waiting else None
        if wake_us != self._wake_us:
            self._wake_us = wake_us
            if wake_us is not None:
                self._out.append(WakeAt(wake_us, Because(Reason.RE_JUDGE, (("waiting_turns", waiting),))))

    def shared_prefix_of(self, turn_id: str) -> SharedPrefix | None:
        """Return the shared prefix that a live turn's context begins with, in whole blocks; ``None`` where it has none.

        An executor asks where it dispatches a turn or brings one back: these tokens are not the context's own.
        """
        turn = self._registry.turns.get(turn_id)
        if turn is None:
            raise ContractError("unknown-turn", f"turn {turn_id!r} is not live")
        prefix = turn.context.holding.prefix
        return None if prefix is None else SharedPrefix(prefix.prefix_id, prefix.tokens)

    def snapshot(self) -> Snapshot:
        """Return an immutable view of what is live; it changes nothing."""
        return take_snapshot(self)
