"""The bypass bound of LIVE-1: exact bookkeeping without a scan.

*Bypass*: a dispatch of a turn of a later-arrived job while an earlier job has a turn waiting. Each dispatch of a job
with arrival number ``a`` adds one to every waiting job with a smaller number. When a job's count reaches K it is
promoted, for good.

**Counting.** A Fenwick tree over arrival numbers counts dispatches; a job's bypasses during one wait are the dispatches
at later numbers since the wait began: one suffix sum at its start, one at its end. A dispatch is one point update.

**Noticing.** A job with ``s`` bypasses left cannot reach K before ``s`` more dispatches of anyone. So it is looked at
again only at dispatch number ``now + s`` (a heap of such numbers); there the count is exact, and either it is K or a
new, later number follows. Every promotion is therefore noticed at the very dispatch that causes it. While a job is
bypassed by every dispatch it is looked at once, at K; a job that is seldom bypassed is looked at more often as ``s``
shrinks, each time at the cost of O(log n). ``tests/property`` holds this against a scan of all jobs.

Tree slots are arrival numbers squeezed together: when they run out, the live jobs are numbered anew in the same order.
"""

from __future__ import annotations

import heapq

from sortedcontainers import SortedDict

from astraea.policy.state import Job

__all__ = ["BypassGuard"]

_FIRST_SLOTS = 1_024


class BypassGuard:
    """Counts bypasses and promotes the jobs that reach ``bypass_max``; never promotes where that is ``None``."""

    def __init__(self, bypass_max: int | None) -> None:
        self._bound = bypass_max
        self._dispatches = 0
        self._forgotten = 0
        """Dispatches before the last renumbering: the tree no longer counts them."""
        self._capacity = _FIRST_SLOTS
        self._tree = [0] * (self._capacity + 1)
        self._used = 0
        self._jobs: dict[int, Job] = {}
        """Live jobs by arrival, in order of arrival."""
        self._due: list[tuple[int, int, int]] = []
        """(dispatch number at which to look again, arrival, epoch of the wait)."""
        self._promoted_waiting: SortedDict[int, Job] = SortedDict()

    @property
    def head(self) -> Job | None:
        """The earliest-arrived promoted job that has a turn waiting."""
        waiting = self._promoted_waiting
        return waiting.peekitem(0)[1] if waiting else None

    def enter(self, job: Job) -> None:
        """Know a new job; jobs enter in order of arrival."""
        if self._used == self._capacity:
            self._renumber()
        self._used += 1
        job.guard_slot = self._used
        self._jobs[job.arrival] = job

    def leave(self, job: Job) -> None:
        """Forget a job that ended; none of its turns waits."""
        del self._jobs[job.arrival]

    def wait_begins(self, job: Job) -> None:
        """Note that the first of the job's turns waits."""
        job.guard_epoch += 1
        job.bypass_mark = self._later_dispatches(job)
        if self._bound is None:
            return
        if not job.promoted and job.bypass_settled >= self._bound:
            job.promoted = True
        if job.promoted:
            self._promoted_waiting[job.arrival] = job
        else:
            self._look_again(job, job.bypass_settled)

    def wait_ends(self, job: Job) -> None:
        """Note that none of the job's turns waits any more."""
        job.bypass_settled += self._later_dispatches(job) - job.bypass_mark
        job.guard_epoch += 1
        if job.promoted:
            self._promoted_waiting.pop(job.arrival, None)

    def dispatched(self, job: Job) -> None:
        """Count a dispatch of one of the job's turns, and promote whom it brings to K."""
        self._dispatches += 1
        tree, slot, capacity = self._tree, job.guard_slot, self._capacity
        while slot <= capacity:
            tree[slot] += 1
            slot += slot & -slot
        due = self._due
        while due and due[0][0] <= self._dispatches:
            self._look(heapq.heappop(due))

    def bypasses(self, job: Job) -> int:
        """Return how often the job has been bypassed over its whole life."""
        if not job.waiting_turns:
            return job.bypass_settled
        return job.bypass_settled + self._later_dispatches(job) - job.bypass_mark

    def _look(self, entry: tuple[int, int, int]) -> None:
        _, arrival, epoch = entry
        job = self._jobs.get(arrival)
        if job is None or job.guard_epoch != epoch or job.promoted or self._bound is None:
            return
        count = job.bypass_settled + self._later_dispatches(job) - job.bypass_mark
        if count >= self._bound:
            job.promoted = True
            self._promoted_waiting[arrival] = job
        else:
            self._look_again(job, count)

    def _look_again(self, job: Job, count: int) -> None:
        assert self._bound is not None
        at = self._dispatches + self._bound - count
        heapq.heappush(self._due, (at, job.arrival, job.guard_epoch))

    def _later_dispatches(self, job: Job) -> int:
        """Dispatches ever counted at slots after the job's own."""
        tree, slot, upto = self._tree, job.guard_slot, 0
        while slot:
            upto += tree[slot]
            slot &= slot - 1
        return self._dispatches - self._forgotten - upto

    def _renumber(self) -> None:
        """Give the live jobs slots 1, 2, … again and start the tree from zero."""
        waiting = [job for job in self._jobs.values() if job.waiting_turns]
        for job in waiting:
            job.bypass_settled += self._later_dispatches(job) - job.bypass_mark
            job.bypass_mark = 0
        for slot, job in enumerate(self._jobs.values(), start=1):
            job.guard_slot = slot
        self._used = len(self._jobs)
        self._capacity = max(_FIRST_SLOTS, 2 * self._used)
        self._tree = [0] * (self._capacity + 1)
        self._forgotten = self._dispatches
