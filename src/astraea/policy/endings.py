"""How turns, jobs and sessions end: by an answer, by their client, or because quarantine left no room.

A turn that the engine is computing cannot end before its batch is reported: it becomes ``STOPPING``, told as ended to
nobody twice (INV-4), and keeps its blocks until then.
"""

from __future__ import annotations

from collections.abc import Mapping

from astraea.decisions import Because, Decision, Reason, Refuse
from astraea.events import Outcome, TurnOutcome
from astraea.policy.batching import Batching
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.policy.registry import Registry
from astraea.policy.running import Running
from astraea.policy.state import Job, Session, Turn
from astraea.policy.tables import KvState, TurnInput, TurnState
from astraea.policy.waiting import Waiting

__all__ = ["Endings"]


class Endings:
    """Ends what is live; ``in_flight`` holds the turns of the batch that is owed."""

    def __init__(
        self, *, limits: Limits, policy: Policy, kv: KvCaches, registry: Registry, waiting: Waiting, running: Running,
        batching: Batching,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._policy = policy
        self._kv = kv
        self._ledger = kv.ledger
        self._out: list[Decision] = kv.out
        self._registry = registry
        self._waiting = waiting
        self._running = running
        self._batching = batching
        self.in_flight: Mapping[str, Turn] = {}

    def report(self, turn: Turn, outcome: TurnOutcome, now_us: int) -> None:
        """End a running turn as its batch reported it."""
        failed = outcome.outcome is Outcome.FAILED
        context, job = turn.context, turn.job
        self._running.remove(turn)
        self._kv.end_run(turn, trusted=not failed)
        turn.take(TurnInput.FAIL if failed else TurnInput.FINISH)
        self._registry.forget_turn(turn)
        context.size = turn.size
        to_tool = outcome.outcome is Outcome.TOOL_CALL
        if not failed:
            self._policy.turn_ended(turn, context.last_tool, to_tool=to_tool)
        context.last_tool = ""
        if to_tool:
            self._registry.call_tool(context, outcome.tool or "", now_us)
            context.keep_until_us = self._policy.memory.keep_until_us(context, self._ledger, now_us)
        else:
            job.over = True
            job.failed |= failed
            self._registry.end_job_if_done(job)

    def stopped(self, turn: Turn, *, trusted: bool) -> None:
        """End a turn that was cancelled in flight: its batch is reported."""
        self._running.remove(turn)
        if turn.context.holding.state is KvState.DEVICE_DEAD:
            self._kv.bury(turn, trusted=trusted)
        else:
            self._kv.end_run(turn, trusted=trusted)
        turn.take(TurnInput.BATCH_DONE)
        self._registry.forget_turn(turn)
        self._registry.end_job_if_done(turn.job)

    def cancel(self, turn: Turn, now_us: int) -> None:
        """End a live turn that its client no longer wants."""
        if turn.turn_id in self.in_flight:
            turn.take(TurnInput.CANCEL_IN_BATCH)
            return
        self._leave(turn, now_us)
        turn.take(TurnInput.CANCEL)
        self._registry.forget_turn(turn)
        self._registry.end_job_if_done(turn.job)

    def abandon(self, job: Job, now_us: int) -> None:
        """End a job without an answer, and all its turns."""
        job.over = False
        for turn in list(job.turns.values()):
            if turn.state is not TurnState.STOPPING:
                self.cancel(turn, now_us)
        self._registry.end_job(job)

    def close(self, session: Session, now_us: int) -> None:
        """End a session: its job, its turns and its caches."""
        if session.job is not None:
            self.abandon(session.job, now_us)
        for context in session.contexts.values():
            turn = context.turn
            if turn is not None and turn.state is not TurnState.STOPPING:
                self.cancel(turn, now_us)
            self._registry.forget_wait(context)
            self._kv.close(context, in_batch=context.turn is not None)
            job, context.job = context.job, None
            if job is not None:
                self._registry.end_job_if_done(job)
        del self._registry.sessions[session.tenant, session.session_id]

    def squeeze(self, now_us: int) -> None:
        """End every admitted turn that no longer fits beside what is quarantined (rule 9)."""
        usable = self._ledger.device_usable
        for turn in list(self._registry.turns.values()):
            blocks = self._limits.blocks_for(turn.max_tokens)
            if blocks <= usable or turn.state is TurnState.STOPPING:
                continue
            numbers = (("max_blocks", blocks), ("usable_blocks", usable))
            self._out.append(Refuse(turn.turn_id, None, Because(Reason.NEVER_FITS, numbers)))
            turn.job.over = turn.job.failed = True
            if turn.turn_id in self.in_flight:
                turn.take(TurnInput.SQUEEZE_IN_BATCH)
                continue
            self._leave(turn, now_us)
            turn.take(TurnInput.SQUEEZE)
            self._registry.forget_turn(turn)
            self._registry.end_job_if_done(turn.job)

    def _leave(self, turn: Turn, now_us: int) -> None:
        """Take a turn that is not in flight out of the batch or the queue."""
        if turn.state is TurnState.RUNNING:
            self._batching.settle()
            self._running.remove(turn)
            self._kv.end_run(turn, trusted=True)
        else:
            self._waiting.end_by(turn, now_us)
