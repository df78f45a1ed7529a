"""The turns that wait: their place in the policy's order, their jobs' waits, and the one open turn.

A job's wait is accrued once while any of its turns waits. A turn's size and place are taken when it becomes ready and
when its residency changes, not in between. While the order is being walked the queue stands still: what changes
meanwhile is noted and renewed afterwards.
"""

from __future__ import annotations

from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.protocol import Cursor, Policy
from astraea.policy.state import Turn
from astraea.policy.tables import READY

__all__ = ["Waiting"]


class Waiting:
    """The waiting turns of one scheduler."""

    def __init__(self, policy: Policy, kv: KvCaches, guard: BypassGuard) -> None:
        self._policy = policy
        self._queue = policy.queue
        self._kv = kv
        self._guard = guard
        self.open_turn: Turn | None = None
        """The turn for which caches are being copied out; free blocks up to its need are its own (rule 3)."""
        self.returned: dict[int, Turn] = {}
        """Waiting turns whose host copy is back whole, by serial, in order of return (rules 3 and 6)."""
        self.stale: dict[int, Turn] = {}
        """Turns whose place in the walk is out of date, to be renewed after it: placed, or with another residency."""
        self._walking = False

    def __len__(self) -> int:
        """Return how many turns are in the queue."""
        return len(self._queue)

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
            self.stale[turn.serial] = turn
            return
        if turn.place is not None:
            self._queue.remove(turn)
        if turn.state not in READY:
            return
        context = turn.context
        holding = context.holding
        resident = self._kv.resident_tokens(context)
        turn.starts = not (holding.device_tokens or holding.host_tokens)
        turn.size = self._policy.size(turn, min(resident, turn.goal_tokens - 1), holding.host_tokens, now_us)
        self._queue.add(turn)

    def end_by(self, turn: Turn, now_us: int) -> None:
        """Let a turn wait no more because it ended."""
        job = turn.job
        self.leave(turn)
        job.waiting_turns -= 1
        if not job.waiting_turns:
            job.wait_us = now_us - job.ready_key
            self._guard.wait_ends(job)

    def dispatch(self, turn: Turn, now_us: int) -> None:
        """Let a turn wait no more because it is dispatched; that may promote jobs that it passes."""
        job = turn.job
        job.waiting_turns -= 1
        still_waits = job.waiting_turns > 0
        if not still_waits:
            job.wait_us = now_us - job.ready_key
        self._guard.dispatched(job, still_waits=still_waits)

    def leave(self, turn: Turn) -> None:
        """Take a turn out of the queue, and close it if it is the open one; its job's wait goes on."""
        self.returned.pop(turn.serial, None)
        if self.open_turn is turn:
            self.open_turn = None
        if turn.place is not None:
            if self._walking:
                self.stale[turn.serial] = turn
            else:
                self._queue.remove(turn)

    def walk(self, now_us: int) -> Cursor:
        """Return a walk of the queue as it stood when the present pass began."""
        return self._queue.cursor(now_us)

    def begin_pass(self) -> None:
        """Let the queue stand still."""
        self._walking = True

    def end_pass(self, now_us: int) -> None:
        """Renew what changed during the pass."""
        self._walking = False
        for turn in self.stale.values():
            self.renew(turn, now_us)
        self.stale.clear()
