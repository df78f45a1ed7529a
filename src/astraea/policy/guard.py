"""The bypass bound of LIVE-1: exact bookkeeping whose cost hardly depends on how many jobs wait.

*Bypass*: a dispatch of a turn of a later-arrived job while an earlier job has a turn waiting. A job's *slack* is K less
its bypasses so far; at slack 0 the job is promoted, for good. Jobs sit in *slots* in order of arrival, and a dispatch
from one slot passes every waiting job in a slot before it.

How often a waiting job was passed is counted exactly whenever it is asked: what it was when the wait began, plus the
dispatches from later slots since then (``passes.py``). Who has reached K must be known after every single dispatch, and
looking at everybody is what this file avoids. A slack falls by at most one in a dispatch, and not at all in one from an
earlier slot. So a job looked at once need not be looked at again before as many such dispatches, and that is kept by
two clocks. Slots are cut into *groups*; a group's clock counts the dispatches from its own and later slots, and each
waiting job stands in its group's heap with the time on that clock before which its slack cannot be used up. The clock
of all dispatches runs no slower than any group's, so the groups stand in one heap in the same way. A dispatch compares
one number; what is due is counted exactly, and promoted or put back. A promotion is never late.

When slots run out, live jobs are numbered anew in the same order. ``tests/property`` holds all this against a scan of
every job, and ``specs/guard_clocks.py`` proves the steps.
"""

from __future__ import annotations

from heapq import heappop, heappush

from sortedcontainers import SortedDict

from astraea.policy.passes import PassCounter
from astraea.policy.state import Job

__all__ = ["BypassGuard"]

_FIRST_SLOTS = 1_024
_GROUP_SLOTS = 256
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
        self._number([])

    def _number(self, jobs: list[Job]) -> None:
        """Give jobs the first slots, with room for at least as many more, and start the clocks at 0."""
        self._slots = max(_FIRST_SLOTS, 2 << len(jobs).bit_length())
        self._used = 0
        self._passes = PassCounter(self._slots)
        self._dispatches = 0
        self._heaps: list[list[tuple[int, int]]] = [[] for _ in range(-(-self._slots // _GROUP_SLOTS))]
        """By group: the time on its clock at which to look at a job, and the job's arrival; one entry a job."""
        self._alarms: list[tuple[int, int]] = []
        """The time on the clock of all dispatches at which to look at a group, and the group."""
        self._next_alarm = _NEVER
        for job in jobs:
            self._seat(job)

    def _seat(self, job: Job) -> None:
        job.guard_slot = self._used
        job.guard_due = False
        self._used += 1

    def enter(self, job: Job) -> None:
        """Know a new job; jobs enter in order of arrival."""
        if self._used == self._slots:
            self._renumber()
        self._seat(job)
        self._jobs[job.arrival] = job

    def leave(self, job: Job) -> None:
        """Forget a job that ended; none of its turns waits."""
        del self._jobs[job.arrival]

    def _renumber(self) -> None:
        jobs = list(self._jobs.values())
        waiting = [job for job in jobs if job.waiting_turns and not job.promoted]
        for job in waiting:
            job.bypasses = self.bypasses(job)
        self._number(jobs)
        for job in waiting:
            self.wait_begins(job)

    # What happens to jobs

    def wait_begins(self, job: Job) -> None:
        """Note that the first of the job's turns waits."""
        if job.bypasses >= self._bound:
            job.promoted = True
        if job.promoted:
            self._promoted_waits(job)
            return
        job.bypasses_base = job.bypasses - self._passes.later(job.guard_slot)
        if not job.guard_due:  # an entry of an earlier wait comes up soon enough, for no slack grows
            job.guard_due = True
            self._look_later(job, self._bound - job.bypasses)

    def wait_ends(self, job: Job) -> None:
        """Note that none of the job's turns waits any more."""
        if job.promoted:
            self._promoted_goes(job)
        else:
            job.bypasses = job.bypasses_base + self._passes.later(job.guard_slot)

    def dispatched(self, job: Job, *, still_waits: bool) -> None:
        """Count a dispatch of one of the job's turns, and promote whom it brings to K.

        ``still_waits``: another turn of the job goes on waiting; else its wait ends with this dispatch.
        """
        passes, slot = self._passes, job.guard_slot
        if still_waits:
            pass
        elif job.promoted:
            self._promoted_goes(job)
        else:
            job.bypasses = job.bypasses_base + passes.later(slot)
        passes.count(slot)
        if self.head is not None and self.head.arrival < job.arrival:
            self._count_breach(job)
        self._dispatches += 1
        if self._dispatches >= self._next_alarm:
            self._look()

    def bypasses(self, job: Job) -> int:
        """Return how often the job has been bypassed over its whole life."""
        if job.promoted or not job.waiting_turns:
            return job.bypasses
        return job.bypasses_base + self._passes.later(job.guard_slot)

    def _count_breach(self, job: Job) -> None:
        """Count that a promoted job was passed all the same, so that a broken bound shows (LIVE-1)."""
        for arrival in self._promoted_waiting.irange(maximum=job.arrival, inclusive=(False, False)):
            self._promoted_waiting[arrival].bypasses += 1

    # Who has reached K

    def _look_later(self, job: Job, slack: int) -> None:
        """Let the job, which has so much slack, be looked at before that can be used up."""
        group = job.guard_slot // _GROUP_SLOTS
        heap = self._heaps[group]
        due = self._clock(group) + slack
        heappush(heap, (due, job.arrival))
        if heap[0][1] == job.arrival:
            self._sound(group, self._dispatches + slack)

    def _clock(self, group: int) -> int:
        return self._passes.later(group * _GROUP_SLOTS - 1)

    def _sound(self, group: int, at: int) -> None:
        heappush(self._alarms, (at, group))
        self._next_alarm = self._alarms[0][0]

    def _look(self) -> None:
        """Look at the groups that are due."""
        while self._next_alarm <= self._dispatches:
            _, group = heappop(self._alarms)
            self._next_alarm = self._alarms[0][0] if self._alarms else _NEVER
            self._look_at(group)

    def _look_at(self, group: int) -> None:
        """Count the jobs of a group that are due: promote who is at K, and look at the others again in their time."""
        heap, now = self._heaps[group], self._clock(group)
        while heap and heap[0][0] <= now:
            job = self._jobs.get(heappop(heap)[1])
            if job is None:
                continue
            job.guard_due = not job.promoted and job.waiting_turns > 0
            if not job.guard_due:
                continue
            slack = self._bound - self.bypasses(job)
            if slack > 0:
                heappush(heap, (now + slack, job.arrival))
            else:
                job.promoted = True
                job.bypasses = self._bound
                self._promoted_waits(job)
        if heap:
            self._sound(group, self._dispatches + heap[0][0] - now)

    def _promoted_waits(self, job: Job) -> None:
        self._promoted_waiting[job.arrival] = job
        if self.head is None or job.arrival < self.head.arrival:
            self.head = job

    def _promoted_goes(self, job: Job) -> None:
        waiting = self._promoted_waiting
        del waiting[job.arrival]
        if self.head is job:
            self.head = waiting.peekitem(0)[1] if waiting else None
