"""INV-6 from outside: the engine is not left idle, and a turn that would fit is held back for a named reason only.

Judged after each ``decide`` that found no batch under way:

* a turn waits, no batch is decided and no copy is owed: never (this is LIVE-2 too);
* a turn waits that would fit in the free blocks, after something happened since turns were last placed. That is
  excused by its own last ``Hold`` where that still holds true (``copying`` while a copy is owed; ``prefix_filling``
  while its prefix is being filled; ``tenant_kv`` while the cap is reached; ``headroom`` for a start while others run;
  ``reserved`` while another turn is held for want of room), or by what stands before it: a full batch, a waiting job
  at the bypass bound, ``blocked_scan_max`` turns held back, an open turn that waits for copies, or, as far as the
  policy's rule says so, a turn that is held for want of room (every one behind it, or starts behind a start).

Nothing is said of those behind a turn that had been held for want of room and is now the only one that runs: where
nothing else runs it is placed last of all.

What fits is counted after the batch took the blocks of all its steps, so that a turn is never said to fit when it did
not. Not judged: the order among turns that fit, how much headroom there should be, and whether more should have been
evicted.
"""

from __future__ import annotations

from astraea.decisions import Reason
from astraea.policy.protocol import Blocking
from astraea.policy.tables import TurnState
from astraea.trace.check_bypass import Bypasses
from astraea.trace.check_records import WANTING_ROOM, Turn, broken
from astraea.trace.check_reports import Reports

__all__ = ["WorkConserving"]


class WorkConserving:
    """Judges what is left waiting."""

    def __init__(self, state: Reports, bypasses: Bypasses, blocking: Blocking | None) -> None:
        self._state = state
        self._bypasses = bypasses
        self._blocking = Blocking.EVERYTHING if blocking is None else blocking

    def judge(self, running: dict[str, Turn], unblocked: list[Turn]) -> None:
        """Judge the state after a ``decide``; the first offending turn is named."""
        state = self._state
        waiting = state.jobs.waiting
        if not waiting:
            return
        copying = state.copies.under_way
        if state.batch is None and not copying:
            turn = next(iter(waiting.values()))
            broken("INV-6", f"{len(waiting)} turns wait, {turn.turn_id!r} first, and nothing runs or is owed")
        if not state.news or len(running) >= state.limits.batch_turns_max:
            return
        if unblocked and len(running) <= 1:
            return  # nothing ran: what had been blocked was placed last (rule 6), and those behind it were passed over
        free = state.memory.free
        for turn in waiting.values():
            if turn.state is TurnState.RETURNING or turn.context.holding.copy is not None:
                continue
            need = state.memory.need_blocks(turn)
            if need <= free and not self._excused(turn, running):
                why = f"its last Hold says {turn.held}" if turn.held is not None else "no Hold says why"
                broken("INV-6", f"turn {turn.turn_id!r} needs {need} blocks, {free} are free, and it waits; {why}")

    def _excused(self, turn: Turn, running: dict[str, Turn]) -> bool:
        return self._by_itself(turn, running) or self._bypasses.stands_before(turn) or self._by_others(turn)

    def _by_itself(self, turn: Turn, running: dict[str, Turn]) -> bool:
        """Whether its own last Hold still holds true."""
        holding, held = turn.context.holding, turn.held
        if held is Reason.COPYING:
            return self._state.copies.under_way
        if held is Reason.PREFIX_FILLING:
            return holding.prefix is not None and holding.prefix.filler is not None
        if held is Reason.TENANT_KV:
            return self._over_tenant_cap(turn, running)
        if held is Reason.HEADROOM:
            return bool(running) and _starts(turn)
        if held is Reason.RESERVED:
            return any(other is not turn and other.held in WANTING_ROOM for other in self._state.jobs.waiting.values())
        return False

    def _over_tenant_cap(self, turn: Turn, running: dict[str, Turn]) -> bool:
        limits = self._state.limits
        tenant = turn.job.tenant
        held = sum(limits.blocks_for(t.max_tokens) for t in running.values() if t.job.tenant == tenant)
        cap = limits.tenant_kv_blocks_max
        return cap is not None and held + limits.blocks_for(turn.max_tokens) > cap

    def _by_others(self, turn: Turn) -> bool:
        """Whether turns before it that lack room hold it back."""
        waiting = [other for other in self._state.jobs.waiting.values() if other is not turn]
        if sum(other.held is not None for other in waiting) >= self._state.limits.blocked_scan_max:
            return True
        blocked = [other for other in waiting if other.held in WANTING_ROOM]
        if self._state.copies.under_way and blocked:
            return True  # one of them is the open turn, and what is free is its own
        if self._blocking is Blocking.STARTS:
            return _starts(turn) and any(map(_starts, blocked))
        return self._blocking is Blocking.EVERYTHING and bool(blocked)


def _starts(turn: Turn) -> bool:
    """Whether the turn is a start: its context holds nothing of its own."""
    holding = turn.context.holding
    return not (holding.device_tokens or holding.host_tokens)
