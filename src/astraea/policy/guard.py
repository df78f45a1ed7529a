"""The bypass bound of LIVE-1: exact bookkeeping whose cost hardly depends on how many jobs wait.

*Bypass*: a dispatch of a turn of a later-arrived job while an earlier job has a turn waiting. A job's *slack* is K less
its bypasses so far; at slack 0 the job is promoted, for good. Jobs sit in *slots* in order of arrival, and a dispatch
from one slot takes one from the slack of every waiting job in a slot before it.

How often a waiting job was passed is exact whenever it is asked: what it was when its wait began, plus the dispatches
from later slots since (``passes.py``). Who has reached K must be known after every single dispatch, and looking at
everybody is what this file avoids. Slots are cut into groups, and a group's *clock* counts the dispatches from its own
and later slots. Nobody in it can reach K before its clock has moved by the least slack in it: then the group is *due*.
And no clock moves faster than that of all dispatches: so each group has an alarm on this one, and a dispatch compares
one number. When an alarm goes, a group that is not due sets it anew; in one that is due everybody is counted, who is at
K is promoted, and both times are set anew. A promotion is never late, and an alarm that was too early costs little.

When slots run out, live jobs are numbered anew in the same order. ``tests/property`` holds all this against a scan of
every job, and ``specs/guard_clocks.py`` proves the steps.
"""

from __future__ import annotations

from heapq import heappop, heappush
from operator import add

from astraea.policy.passes import PassCounter
from astraea.policy.state import Job

__all__ = ["BypassGuard"]

_FIRST_SLOTS = 1_024
_GROUP_BITS = 6
_NEVER = 1 << 60


class BypassGuard:
    """Counts bypasses and promotes the jobs that reach ``bypass_max``; never promotes where that is ``None``."""

    def __init__(self, bypass_max: int | None) -> None:
        self._bound = _NEVER // 4 if bypass_max is None else bypass_max
        self._jobs: dict[int, Job] = {}
        """Live jobs by arrival, in order of arrival."""
        self._promoted: list[int] = []
        """Heap of the arrivals of promoted jobs that wait, and of some that no longer do."""
        self.head: Job | None = None
        """The earliest-arrived promoted job that has a turn waiting."""
        self._number([])

    def _number(self, jobs: list[Job]) -> None:
        """Give jobs the first slots, with room for at least as many more, and start the clocks at 0."""
        self._slots = max(_FIRST_SLOTS, 2 << len(jobs).bit_length())
        self._used = 0
        self._in_slot: list[Job | None] = [None] * self._slots
        self._end = [_NEVER] * self._slots
        """For a waiting job K less its bypasses when the wait began, plus the dispatches from later slots before."""
        self._passes = PassCounter(self._slots, _GROUP_BITS)
        groups = (self._slots >> _GROUP_BITS) + 1
        self._due = [_NEVER] * groups
        """When somebody in a group may be at K, on the group's clock."""
        self._first = [_NEVER] * groups
        """By group, a slot before which nobody waits."""
        self._alarm = [_NEVER] * groups
        """When to see whether a group is due, on the clock of all dispatches."""
        self._alarms: list[tuple[int, int]] = []
        """Heap of alarms and their groups, with some that were set anew since."""
        self._next_alarm = _NEVER
        self._dispatches = 0
        for job in jobs:
            self._seat(job)

    def _seat(self, job: Job) -> None:
        job.guard_slot = self._used
        self._in_slot[self._used] = job
        self._used += 1

    def enter(self, job: Job) -> None:
        """Know a new job; jobs enter in order of arrival."""
        if self._used == self._slots:
            self._renumber()
        self._seat(job)
        self._jobs[job.arrival] = job

    def leave(self, job: Job) -> None:
        """Forget a job that ended; none of its turns waits."""
        self._in_slot[job.guard_slot] = None
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
        slot, slack = job.guard_slot, self._bound - job.bypasses
        group = slot >> _GROUP_BITS
        self._end[slot] = slack + self._passes.later(slot)
        self._first[group] = min(self._first[group], slot)
        due = slack + self._passes.since(group)
        if due < self._due[group]:
            self._due[group] = due
            self._set_alarm(group, slack)

    def wait_ends(self, job: Job) -> None:
        """Note that none of the job's turns waits any more, and none was dispatched just now."""
        if job.promoted:
            self._promoted_goes(job)
        else:
            job.bypasses = self._count(job.guard_slot)
            self._end[job.guard_slot] = _NEVER

    def dispatched(self, job: Job, *, still_waits: bool) -> None:
        """Count a dispatch of one of the job's turns, and promote whom it brings to K.

        ``still_waits``: another turn of the job goes on waiting; else its wait ends with this dispatch.
        """
        slot, passes = job.guard_slot, self._passes
        if job.promoted:
            if not still_waits:
                self._promoted_goes(job)
        elif not still_waits:
            job.bypasses = self._bound - self._end[slot] + passes.later(slot)
            self._end[slot] = _NEVER
        passes.count(slot)
        if slot <= self._first[slot >> _GROUP_BITS]:  # the group's clock moved, but nobody in it was passed
            self._due[slot >> _GROUP_BITS] += 1
        if self.head is not None and self.head.arrival < job.arrival:
            self._count_breach(job)
        self._dispatches += 1
        while self._next_alarm <= self._dispatches:
            self._check()

    def bypasses(self, job: Job) -> int:
        """Return how often the job has been bypassed over its whole life."""
        return job.bypasses if job.promoted or not job.waiting_turns else self._count(job.guard_slot)

    def _count(self, slot: int) -> int:
        return self._bound - self._end[slot] + self._passes.later(slot)

    # Who has reached K

    def _set_alarm(self, group: int, dispatches: int) -> None:
        """Set a group's alarm to go after so many dispatches."""
        at = self._alarm[group] = self._dispatches + dispatches
        heappush(self._alarms, (at, group))
        self._next_alarm = self._alarms[0][0]

    def _check(self) -> None:
        """See whether the group whose alarm goes is due."""
        at, group = heappop(self._alarms)
        self._next_alarm = self._alarms[0][0] if self._alarms else _NEVER
        if at != self._alarm[group]:
            return
        clock, due = self._passes.since(group), self._due[group]
        if clock >= due:
            due = self._due[group] = self._look(group, clock)
        if due < _NEVER:
            self._set_alarm(group, due - clock)

    def _look(self, group: int, clock: int) -> int:
        """Promote those of a group who are at K, and return when it is due again."""
        first = group << _GROUP_BITS
        ends = self._end[first : (group + 1) << _GROUP_BITS]
        # A slot's later dispatches are the group's clock less what came from it and from earlier slots of the group.
        times: list[int] = list(map(add, ends, self._passes.up_to(group)))
        for i, time in enumerate(times):
            if time <= clock:
                self._promote(first + i)
                times[i] = _NEVER
        self._first[group] = first + next((i for i, time in enumerate(times) if time < _NEVER), len(times))
        return min(*times, _NEVER)

    def _promote(self, slot: int) -> None:
        self._end[slot] = _NEVER
        job = self._in_slot[slot]
        assert job is not None
        job.promoted = True
        job.bypasses = self._bound
        self._promoted_waits(job)

    def _promoted_waits(self, job: Job) -> None:
        heappush(self._promoted, job.arrival)
        if self.head is None or job.arrival < self.head.arrival:
            self.head = job

    def _promoted_goes(self, job: Job) -> None:
        """Find the next head where this job was it."""
        if self.head is not job:
            return
        self.head = None
        while self._promoted and self.head is None:
            first = self._jobs.get(self._promoted[0])
            if first is not None and first.waiting_turns:
                self.head = first
            else:
                heappop(self._promoted)

    def _count_breach(self, job: Job) -> None:
        """Count that promoted jobs were passed all the same, so that a broken bound shows (LIVE-1)."""
        for other in self._jobs.values():
            if other.arrival < job.arrival and other.promoted and other.waiting_turns:
                other.bypasses += 1
