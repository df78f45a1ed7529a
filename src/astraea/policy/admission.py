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
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking, Cursor, Policy
from astraea.policy.safety import Eviction, Force, Safety, reserve_tokens
from astraea.policy.state import Context, Prefix, Turn
from astraea.policy.tables import KvState, TurnInput, TurnState

__all__ = ["Admission"]

_ROOM = (Reason.NO_ROOM, Reason.HEADROOM, Reason.RESERVED)


class Admission:
    """Places waiting turns; keeps the queue, the waits and the open turn."""

    def __init__(self, limits: Limits, policy: Policy, kv: KvCaches, copies: Copies, guard: BypassGuard) -> None:
        self._limits = limits
        self._policy = policy
        self._kv = kv
        self._ledger = kv.ledger
        self._copies = copies
        self._guard = guard
        self._safety = Safety(limits, policy, kv)
        self._out: list[Decision] = kv.out
        self.running: dict[int, Turn] = {}
        """Turns in the batch by serial, in order of dispatch."""
        self.tenant_blocks: dict[str, int] = {}
        """Device blocks that each tenant's running turns were placed with, where a cap is set."""
        self.open_turn: Turn | None = None
        self.dispatched: list[Dispatch] = []
        self._stale: dict[int, Turn] = {}
        """Turns whose place in the queue is to be renewed after the pass."""
        self._hopeless: dict[bool, int] = {}
        """Blocks that could not be had in this pass, by whether the turn may take protected caches."""
        self._walking = False
        self.now_us = 0

    # The queue

    def wait(self, turn: Turn, now_us: int) -> None:
        """Let a turn wait: its job's wait begins with the first one."""
        job = turn.job
        job.waiting_turns += 1
        if job.waiting_turns == 1:
            job.ready_key = now_us - job.wait_us
            self._guard.wait_begins(job)
        self.renew(turn, now_us)

    def renew(self, turn: Turn, now_us: int) -> None:
        """Take a waiting turn's size and place in the order anew: it became ready, or its residency changed."""
        if self._walking:
            self._stale[turn.serial] = turn
            return
        queue, context = self._policy.queue, turn.context
        if turn.queued:
            queue.remove(turn)
        if turn.state is not TurnState.WAITING and turn.state is not TurnState.PREEMPTED:
            return
        holding = context.holding
        resident = self._kv.resident_tokens(context)
        turn.starts = not (holding.device_tokens or holding.host_tokens)
        turn.size = self._policy.size(turn, min(resident, turn.goal_tokens - 1), holding.host_tokens, now_us)
        queue.add(turn)

    def unwait(self, turn: Turn, now_us: int) -> None:
        """Let a turn wait no more because it ended."""
        job = turn.job
        self._unqueue(turn)
        job.waiting_turns -= 1
        if not job.waiting_turns:
            job.wait_us = now_us - job.ready_key
            self._guard.wait_ends(job)

    def _unqueue(self, turn: Turn) -> None:
        if self.open_turn is turn:
            self.open_turn = None
        if turn.queued:
            if self._walking:
                self._stale[turn.serial] = turn
            else:
                self._policy.queue.remove(turn)

    # The pass

    def place_turns(self, now_us: int) -> None:
        """Place what may be placed now; no batch is in flight."""
        self.now_us = now_us
        self.dispatched = []
        self._hopeless.clear()
        self._walking = True
        self._walk()
        if not self.running and not self._copies.owed and self._guard.head is None:
            self._place_first()
        self._walking = False
        for turn in self._stale.values():
            self.renew(turn, now_us)
        self._stale.clear()

    def _walk(self) -> None:
        """Rules 1 and 3, then the policy's order."""
        if not self._promoted_are_placed():
            return
        if self.open_turn is not None:
            placed = self._try_place(self.open_turn, Force.CHOSEN) is None
            if placed and not self._promoted_are_placed():
                return
        cursor = self._policy.queue.cursor(self.now_us)
        blocked = 0
        while blocked < self._limits.blocked_scan_max and (turn := cursor.next()) is not None:
            if turn is self.open_turn or turn.serial in self._stale:
                continue
            reason = self._try_place(turn, Force.CHOSEN)
            if reason is None:
                if not self._promoted_are_placed():
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
                if turn.state is TurnState.WAITING or turn.state is TurnState.PREEMPTED:
                    self._try_place(turn, Force.ALL)
                if self._guard.head is not head:  # a dispatch may promote an earlier job
                    break
            else:
                return False
        return True

    def _place_first(self) -> None:
        """Nothing runs and nothing is owed: every cache yields to the first-ranked turn (rule 6)."""
        turn = self._policy.queue.cursor(self.now_us).next()
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
        opened = self.open_turn
        if opened is not None and opened is not turn:
            if force is Force.ALL:
                self.open_turn = None
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
        if len(self.running) >= self._limits.batch_turns_max:
            return Reason.BATCH_FULL
        holding = turn.context.holding
        if holding.state is KvState.LEAVING or holding.state is KvState.RETURNING:
            return Reason.COPYING
        prefix = holding.prefix
        if prefix is not None and prefix.filler is not None:
            return Reason.PREFIX_FILLING
        if self._limits.tenant_kv_blocks_max is not None and self._over_tenant_cap(turn):
            return Reason.TENANT_KV
        return None

    def _headroom(self, turn: Turn, room: int, force: Force) -> int:
        """Blocks that a start leaves free for growth; waived for promoted jobs and when nothing runs (rule 7)."""
        memory = self._policy.memory
        if not turn.starts or force is Force.ALL or room >= memory.headroom_blocks_max or not self.running:
            return 0
        return memory.headroom_blocks(self._active_contexts())

    def _make_room(self, turn: Turn, short: int, headroom: int, force: Force) -> Reason | None:
        """Evict ``short`` blocks for the turn; ``None`` if they are free now, else why it must wait (rules 2, 3)."""
        if self.open_turn is not None and self.open_turn is not turn:
            return Reason.RESERVED if short > 0 else Reason.HEADROOM
        short -= self._copies.promised_blocks
        plan = self._plan(turn, short, headroom, force)
        if plan is None:
            return Reason.HEADROOM if short <= 0 else Reason.NO_ROOM
        target = self._ledger.device_free + short
        because = Because(Reason.DEMAND, (("for_turn", turn.serial), ("short_blocks", short)))
        while plan:
            for eviction in plan:
                self._evict(eviction, turn, because)
            # A prefix may go only once nothing depends on it: where everything yields, ask again.
            short = target - self._ledger.device_free - self._copies.promised_blocks
            plan = self._safety.plan(turn, short, force, self.now_us) if force is Force.ALL and short > 0 else None
        if self._ledger.device_free >= target and not self._copies.promised_blocks:
            return None
        self.open_turn = turn
        return Reason.COPYING if self._copies.promised_blocks else Reason.NO_ROOM

    def _plan(self, turn: Turn, short: int, headroom: int, force: Force) -> list[Eviction] | None:
        """Plan ``short`` blocks for the turn, if ``headroom`` more could go as well; ``None`` where they could not.

        Who ranks later may evict no more than who ranks before and asked in vain in this pass: nothing is asked twice.
        """
        if force is Force.ALL:
            return self._safety.plan(turn, short, force, self.now_us)
        strong = self._policy.memory.may_evict_protected(turn, ranks_before=True, lossless=False)
        if short + headroom >= self._hopeless.get(strong, short + headroom + 1):
            return None
        plan = self._safety.plan(turn, short + headroom, force, self.now_us)
        if plan is None:
            self._hopeless[strong] = short + headroom
        elif headroom:
            plan = self._safety.plan(turn, short, force, self.now_us)
        return plan

    def _place(self, turn: Turn, tokens: int, numbers: tuple[tuple[str, int], ...]) -> None:
        """Dispatch a turn for which there is room for ``tokens`` tokens, or bring its host copy back first."""
        because = Because(Reason.PROMOTED if turn.job.promoted else Reason.RANKED, numbers)
        turn.held_for = None
        self._unqueue(turn)
        if turn.context.holding.host_tokens and self._safety.usable_host_tokens(turn):
            turn.take(TurnInput.SWAP_IN)
            self._copies.begin_in(turn, tokens, because)
            return
        job = turn.job
        job.waiting_turns -= 1
        still_waits = job.waiting_turns > 0
        if not still_waits:
            job.wait_us = self.now_us - job.ready_key
        turn.take(TurnInput.DISPATCH)
        turn.reserves_max = tokens >= turn.max_tokens
        turn.reserved_tokens = tokens
        self.running[turn.serial] = turn
        if self._limits.tenant_kv_blocks_max is not None:
            self._charge(turn, 1)
        self.dispatched.append(Dispatch(turn.turn_id, self._kv.begin_run(turn, tokens), because))
        self._guard.dispatched(job, still_waits=still_waits)

    def _hold(self, turn: Turn, reason: Reason, numbers: tuple[tuple[str, int], ...]) -> Reason:
        if turn.held_for is not reason:
            turn.held_for = reason
            self._out.append(Hold(turn.turn_id, Because(reason, numbers)))
        return reason

    def stop(self, turn: Turn) -> None:
        """Take a turn out of the running ones."""
        del self.running[turn.serial]
        if self._limits.tenant_kv_blocks_max is not None:
            self._charge(turn, -1)

    def _charge(self, turn: Turn, sign: int) -> None:
        tenant = turn.job.tenant
        blocks = self.tenant_blocks.get(tenant, 0) + sign * self._limits.blocks_for(turn.max_tokens)
        if blocks:
            self.tenant_blocks[tenant] = blocks
        else:
            self.tenant_blocks.pop(tenant, None)

    def _over_tenant_cap(self, turn: Turn) -> bool:
        cap = self._limits.tenant_kv_blocks_max
        held = self.tenant_blocks.get(turn.job.tenant, 0)
        return cap is not None and held + self._limits.blocks_for(turn.max_tokens) > cap

    def _active_contexts(self) -> int:
        """Contexts of live jobs that hold device tokens and will grow."""
        parked = sum(1 for c in self._ledger.caches.values() if isinstance(c, Context) and c.job is not None)
        return parked + len(self.running)

    def next_judgement_us(self) -> int | None:
        """Return when the next kept cache stops being kept, or ``None`` where none is."""
        times = [
            cache.keep_until_us
            for cache in self._ledger.caches.values()
            if isinstance(cache, Context) and cache.turn is None and cache.keep_until_us > self.now_us
        ]
        return min(times, default=None)

    # Carrying a plan out

    def _evict(self, eviction: Eviction, turn: Turn, because: Because) -> None:
        cache, blocks = eviction.cache, eviction.blocks
        if isinstance(cache, Prefix):
            self._kv.prefixes.cut(cache, blocks, because)
            return
        if eviction.copies and self.make_host_room(cache, turn):
            self._copies.begin_out(cache, blocks, because)
        else:
            self._kv.cut_tail(cache, blocks, because)
        if cache.turn is not None and cache.turn.queued:
            self.renew(cache.turn, self.now_us)

    def make_host_room(self, context: Context, turn: Turn) -> bool:
        """Give up host copies for a new one, duplicates first, then least recently used; say whether it fits now."""
        ledger, holding = self._ledger, context.holding
        missing = self._limits.blocks_for(holding.device_tokens) - holding.host_blocks
        spared = (holding, turn.context.holding)
        older = [c for h, c in ledger.host_copies.items() if h not in spared]
        older.sort(key=lambda c: c.holding.device_tokens < c.holding.host_tokens)
        for other in older:
            if ledger.host_free >= missing:
                break
            self._kv.cut_host(other, 0, Because(Reason.HOST_ROOM, (("missing_blocks", missing),)))
            if other.turn is not None and other.turn.queued:
                self.renew(other.turn, self.now_us)
        return ledger.host_free >= missing
