"""The bypass bound of LIVE-1: exact bookkeeping in O(log n), whatever the load.

*Bypass*: a dispatch of a turn of a later-arrived job while an earlier job has a turn waiting. A job's *slack* is K less
its bypasses so far; at slack 0 the job is promoted, for good. A dispatch of the job in slot ``a`` takes one from the
slack of every waiting job in a slot before ``a``.

The slacks stand in the leaves of a segment tree in order of arrival, infinite where nothing waits or nothing is to be
counted (promoted jobs are passed by nobody while they wait). ``low[i]`` is the least slack under node ``i``, with all
that ``add[i]`` says of the whole subtree, but not what the nodes above say. A dispatch walks from its leaf to the root
once: it takes one from each subtree that hangs off to the left, and its job's own leaf leaves the tree on the way. The
root shows after every single dispatch whether someone reached 0, so a promotion is never late.

Slots are arrival numbers squeezed together: when they run out, live jobs are numbered anew in the same order.
``tests/property`` holds all this against a scan of every job.
"""

from __future__ import annotations

from sortedcontainers import SortedDict

from astraea.policy.state import Job

__all__ = ["BypassGuard"]

_FIRST_SLOTS = 1_024
_NEVER = 1 << 60


class BypassGuard:
    """Counts bypasses and promotes the jobs that reach ``bypass_max``; never promotes where that is ``None``."""

    def __init__(self, bypass_max: int | None) -> None:
        self._bound = _NEVER // 2 if bypass_max is None else bypass_max
        self._jobs: dict[int, Job] = {}
        """Live jobs by arrival, in order of arrival."""
        self._promoted_waiting: SortedDict[int, Job] = SortedDict()
        self.head: Job | None = None
        """The earliest-arrived promoted job that has a turn waiting."""
        self._start_tree(_FIRST_SLOTS)

    def _start_tree(self, slots: int) -> None:
        self._size = slots
        self._used = 0
        self._in_slot: list[Job | None] = [None] * slots
        self._low = [_NEVER] * (2 * slots)
        self._add = [0] * (2 * slots)

    def enter(self, job: Job) -> None:
        """Know a new job; jobs enter in order of arrival."""
        if self._used == self._size:
            self._renumber()
        self._seat(job)
        self._jobs[job.arrival] = job

    def _seat(self, job: Job) -> None:
        job.guard_slot = self._used
        self._in_slot[self._used] = job
        self._used += 1

    def leave(self, job: Job) -> None:
        """Forget a job that ended; none of its turns waits."""
        self._in_slot[job.guard_slot] = None
        del self._jobs[job.arrival]

    def wait_begins(self, job: Job) -> None:
        """Note that the first of the job's turns waits."""
        if job.bypasses >= self._bound:
            job.promoted = True
        if job.promoted:
            self._promoted_waits(job)
        else:
            leaf = self._size + job.guard_slot
            self._put(leaf, self._bound - job.bypasses - self._above(leaf))

    def wait_ends(self, job: Job) -> None:
        """Note that none of the job's turns waits any more, and none was dispatched just now."""
        if job.promoted:
            self._promoted_goes(job)
            return
        leaf = self._size + job.guard_slot
        job.bypasses = self._bound - self._low[leaf] - self._above(leaf)
        self._put(leaf, _NEVER)

    def dispatched(self, job: Job, *, still_waits: bool) -> None:
        """Count a dispatch of one of the job's turns, and promote whom it brings to K.

        ``still_waits``: another turn of the job goes on waiting; else its wait ends with this dispatch.
        """
        low, add = self._low, self._add
        node = self._size + job.guard_slot
        slack = low[node]
        if not still_waits:
            low[node] = _NEVER
        while node > 1:
            if node & 1:
                low[node - 1] -= 1
                add[node - 1] -= 1
            node >>= 1
            above = add[node]
            slack += above
            left, right = low[2 * node], low[2 * node + 1]
            low[node] = (left if left < right else right) + above  # noqa: FURB136 - the hottest loop: no call
        if not still_waits:
            if job.promoted:
                self._promoted_goes(job)
            else:
                job.bypasses = self._bound - slack
        if self.head is not None and self.head.arrival < job.arrival:
            self._count_breach(job)
        while low[1] <= 0:
            self._promote()

    def _count_breach(self, job: Job) -> None:
        """Count that a promoted job was passed all the same, so that a broken bound shows (LIVE-1)."""
        for arrival in self._promoted_waiting.irange(maximum=job.arrival, inclusive=(False, False)):
            self._promoted_waiting[arrival].bypasses += 1

    def _promoted_waits(self, job: Job) -> None:
        self._promoted_waiting[job.arrival] = job
        if self.head is None or job.arrival < self.head.arrival:
            self.head = job

    def _promoted_goes(self, job: Job) -> None:
        waiting = self._promoted_waiting
        del waiting[job.arrival]
        if self.head is job:
            self.head = waiting.peekitem(0)[1] if waiting else None

    def bypasses(self, job: Job) -> int:
        """Return how often the job has been bypassed over its whole life."""
        if job.promoted or not job.waiting_turns:
            return job.bypasses
        leaf = self._size + job.guard_slot
        return self._bound - self._low[leaf] - self._above(leaf)

    def _promote(self) -> None:
        """Promote the earliest job whose slack is least, which is 0."""
        low, add, node = self._low, self._add, 1
        while node < self._size:
            node *= 2
            if low[node] + add[node // 2] != low[node // 2]:
                node += 1
        job = self._in_slot[node - self._size]
        assert job is not None
        job.promoted = True
        job.bypasses = self._bound
        self._promoted_waits(job)
        self._put(node, _NEVER)

    def _above(self, leaf: int) -> int:
        """What the nodes above a leaf add to it."""
        add, node, total = self._add, leaf >> 1, 0
        while node:
            total += add[node]
            node >>= 1
        return total

    def _put(self, leaf: int, value: int) -> None:
        """Set a leaf and the least slacks above it."""
        low, add, node = self._low, self._add, leaf
        low[node] = value
        while node > 1:
            node >>= 1
            left, right = low[2 * node], low[2 * node + 1]
            low[node] = min(left, right) + add[node]

    def _renumber(self) -> None:
        """Give the live jobs slots 0, 1, … again in a fresh tree with room for as many more."""
        jobs = list(self._jobs.values())
        waiting = [job for job in jobs if job.waiting_turns and not job.promoted]
        for job in waiting:
            job.bypasses = self.bypasses(job)
        self._start_tree(max(_FIRST_SLOTS, 2 << len(jobs).bit_length()))
        for job in jobs:
            self._seat(job)
        for job in waiting:
            self._low[self._size + job.guard_slot] = self._bound - job.bypasses
        for node in range(self._size - 1, 0, -1):
            self._low[node] = min(self._low[2 * node], self._low[2 * node + 1])
