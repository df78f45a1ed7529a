"""Who enters the batch: the waiting turns in the policy's order, each placed, or held back for a reason that is named.

One pass walks the order best first. A turn that fits in the free blocks is placed: dispatched, or brought back from the
host. One that does not may have caches evicted for it. Where all evictions are drops it is placed at once; where some
are copies it becomes the *open* turn, whose blocks nobody else takes until it is placed or gone. A waiting promoted job
stands before all of this: its turns alone are placed until none of them waits (LIVE-1).

A pass is only made when something changed since the last one, so that a steady batch costs nothing and the decisions do
not depend on how many steps the driver runs at a time.
"""

from __future__ import annotations

from astraea.decisions import Because, Decision, Dispatch, Hold, Reason
from astraea.policy.copies import Copies
from astraea.policy.evicting import Evicting
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking, Cursor, Policy
from astraea.policy.running import Running
from astraea.policy.safety import Eviction, Force, Safety, reserve_tokens
from astraea.policy.state import Turn
from astraea.policy.tables import IN_COPY, READY, TurnInput
from astraea.policy.waiting import Waiting

__all__ = ["Admission"]

_ROOM = (Reason.NO_ROOM, Reason.HEADROOM, Reason.RESERVED)


class Admission:
    """Places waiting turns."""

    def __init__(
        self, *, limits: Limits, policy: Policy, kv: KvCaches, copies: Copies, guard: BypassGuard, waiting: Waiting,
        running: Running, evicting: Evicting,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._policy = policy
        self._memory = policy.memory
        self._kv = kv
        self._ledger = kv.ledger
        self._copies = copies
        self._guard = guard
        self._waiting = waiting
        self._running = running
        self._safety = Safety(limits, policy, kv, waiting)
        self._evicting = evicting
        self._out: list[Decision] = kv.out
        self.dispatched: list[Dispatch] = []
        self._hopeless: dict[bool, int] = {}
        """Blocks that could not be had in this pass, by whether the turn may take protected caches."""
        self._now_us = 0

    # The pass

    def place_turns(self, now_us: int) -> None:
        """Place what may be placed now; no batch is in flight."""
        self._now_us = now_us
        self.dispatched = []
        self._hopeless.clear()
        self._waiting.begin_pass()
        self._walk()
        if not self._running.turns and not self._copies.owed and self._guard.head is None:
            self._place_first()
        self._waiting.end_pass(now_us)

    def _walk(self) -> None:
        """Rules 1 and 3, then the policy's order."""
        if not self._promoted_are_placed():
            return
        if self._waiting.open_turn is not None:
            placed = self._try_place(self._waiting.open_turn, Force.CHOSEN) is None
            if placed and not self._promoted_are_placed():
                return
        waiting, guard = self._waiting, self._guard
        cursor = waiting.walk(self._now_us)
        blocked = 0
        while blocked < self._limits.blocked_scan_max and (turn := cursor.next()) is not None:
            if turn is waiting.open_turn or turn.serial in waiting.stale:
                continue
            reason = self._try_place(turn, Force.CHOSEN)
            if reason is None:
                if guard.head is not None and not self._promoted_are_placed():
                    return
                continue
            blocked += 1
            if reason is Reason.BATCH_FULL or (reason in _ROOM and self._blocks_rest(turn, cursor)):
                return

    def _blocks_rest(self, turn: Turn, cursor: Cursor) -> bool:
        blocking = self._policy.blocking
        if blocking is Blocking.STARTS and turn.starts:
            cursor.skip_starts()
        return blocking is Blocking.EVERYTHING

    def _promoted_are_placed(self) -> bool:
        """Place the turns of promoted jobs in order of arrival (rules 1, 2 and 7); whether none of them waits."""
        while (head := self._guard.head) is not None:
            for turn in list(head.turns.values()):
                if turn.state in READY:
                    self._try_place(turn, Force.ALL)
                if self._guard.head is not head:  # a dispatch may promote an earlier job
                    break
            else:
                return False
        return True

    def _place_first(self) -> None:
        """Nothing runs or is owed: who is back from the host runs, or all yield to the first-ranked (rule 6)."""
        turn = next(iter(self._waiting.returned.values()), None) or self._waiting.walk(self._now_us).next()
        if turn is not None:
            self._try_place(turn, Force.ALL)

    # One turn

    def _try_place(self, turn: Turn, force: Force) -> Reason | None:
        """Place a turn and return ``None``, or hold it and return why."""
        tokens = reserve_tokens(turn, self._limits)
        need = self._safety.need_blocks(turn, tokens)
        reason = self._barred(turn)
        if reason is not None:
            return self._hold(turn, reason, (("need_blocks", need),))
        free, reserved = self._ledger.device_free, 0
        opened = self._waiting.open_turn
        if opened is not None and opened is not turn:
            if force is Force.ALL:
                self._waiting.open_turn = None
            else:
                reserved = self._safety.need_blocks(opened, reserve_tokens(opened, self._limits))
        headroom = self._headroom(turn, free - need - reserved, force)
        if need + headroom + reserved > free:
            reason = self._make_room(turn, need + reserved - free, headroom, force)
            if reason is not None:
                numbers = (("need_blocks", need), ("free_blocks", free), ("headroom_blocks", headroom))
                return self._hold(turn, reason, (*numbers, ("reserved_blocks", reserved)))
        self._place(turn, tokens, (("need_blocks", need), ("free_blocks", free), ("size", turn.size)))
        return None

    def _barred(self, turn: Turn) -> Reason | None:
        """Return why a turn cannot be placed whatever room there is."""
        if len(self._running.turns) >= self._limits.batch_turns_max:
            return Reason.BATCH_FULL
        holding = turn.context.holding
        if holding.state in IN_COPY:
            return Reason.COPYING
        prefix = holding.prefix
        if prefix is not None and prefix.filler is not None:
            return Reason.PREFIX_FILLING
        if self._running.capped and self._running.over_tenant_cap(turn):
            return Reason.TENANT_KV
        return None

    def _headroom(self, turn: Turn, room: int, force: Force) -> int:
        """Blocks that a start leaves free for growth; waived for promoted jobs and when nothing runs (rule 7)."""
        memory = self._memory
        if not turn.starts or room >= memory.headroom_blocks_max or force is Force.ALL or not self._running.turns:
            return 0
        return memory.headroom_blocks(self._ledger.active_contexts() + len(self._running))

    def _make_room(self, turn: Turn, short: int, headroom: int, force: Force) -> Reason | None:
        """Evict ``short`` blocks for the turn; ``None`` if they are free now, else why it must wait (rules 2, 3)."""
        if self._waiting.open_turn is not None and self._waiting.open_turn is not turn:
            return Reason.RESERVED if short > 0 else Reason.HEADROOM
        short -= self._copies.promised_blocks
        plan = self._plan(turn, short, headroom, force)
        if plan is None:
            return Reason.HEADROOM if short <= 0 else Reason.NO_ROOM
        target = self._ledger.device_free + short
        because = Because(Reason.DEMAND, (("for_turn", turn.serial), ("short_blocks", short)))
        while plan:
            self._evicting.for_turn(plan, turn, because, self._now_us)
            # The host may have declined a copy that the plan counted on: where everything yields, ask again.
            short = target - self._ledger.device_free - self._copies.promised_blocks
            plan = self._safety.plan(turn, short, force, self._now_us) if force is Force.ALL and short > 0 else None
        if self._ledger.device_free >= target and not self._copies.promised_blocks:
            return None
        self._waiting.open_turn = turn
        return Reason.COPYING if self._copies.promised_blocks else Reason.NO_ROOM

    def _plan(self, turn: Turn, short: int, headroom: int, force: Force) -> list[Eviction] | None:
        """Plan ``short`` blocks for the turn, if ``headroom`` more could go as well; ``None`` where they could not.

        Who ranks later may evict no more than who ranks before and asked in vain in this pass: nothing is asked twice.
        """
        if force is Force.ALL:
            return self._safety.plan(turn, short, force, self._now_us)
        strong = self._memory.may_evict_protected(
            turn, None, self._ledger, self._now_us, ranks_before=True, lossless=False
        )
        if short + headroom >= self._hopeless.get(strong, short + headroom + 1):
            return None
        plan = self._safety.plan(turn, short + headroom, force, self._now_us)
        if plan is None:
            self._hopeless[strong] = short + headroom
        elif headroom:
            plan = self._safety.plan(turn, short, force, self._now_us)
        return plan

    def _place(self, turn: Turn, tokens: int, numbers: tuple[tuple[str, int], ...]) -> None:
        """Dispatch a turn for which there is room for ``tokens`` tokens, or bring its host copy back first."""
        because = Because(Reason.PROMOTED if turn.job.promoted else Reason.RANKED, numbers)
        turn.held_for = None
        self._waiting.leave(turn)
        if turn.context.holding.host_tokens and self._safety.usable_host_tokens(turn):
            turn.take(TurnInput.SWAP_IN)
            self._copies.begin_in(turn, tokens, because)
            return
        turn.take(TurnInput.DISPATCH)
        turn.reserves_max = tokens >= turn.max_tokens
        turn.reserved_tokens = tokens
        self._running.add(turn)
        self.dispatched.append(Dispatch(turn.turn_id, self._kv.begin_run(turn, tokens), because))
        self._waiting.dispatch(turn, self._now_us)

    def _hold(self, turn: Turn, reason: Reason, numbers: tuple[tuple[str, int], ...]) -> Reason:
        if turn.held_for is not reason:
            turn.held_for = reason
            self._out.append(Hold(turn.turn_id, Because(reason, numbers)))
        return reason
