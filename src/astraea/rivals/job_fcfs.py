"""Turns in the order of their jobs' arrival, with a plain prefix cache or with Astraea's memory rules.

Program-level first-come-first-served is the order that Continuum (arXiv 2511.02230) builds on. ``job-fcfs-kept`` is the
yardstick of capacity: throughput under Astraea's memory rules with the plainest order there is.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.limits import Limits
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Job
from astraea.rivals.fcfs import Unlearned

__all__ = ["JobFcfs", "JobFcfsKept"]


def _by_job(job: Job, _size: int, serial: int) -> tuple[int, ...]:
    return (job.arrival, serial)


class JobFcfs(Unlearned):
    """Order of the jobs' arrival, least-recently-used prefix cache."""

    name = "job-fcfs"
    summary = "jobs first-come-first-served, least-recently-used prefix cache"
    source = "program-level FCFS as in Continuum, arXiv 2511.02230, without its retention"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(_by_job)


class JobFcfsKept(LearningPolicy):
    """Order of the jobs' arrival under Astraea's memory rules."""

    name = "job-fcfs-kept"
    summary = "jobs first-come-first-served under astraea's memory rules; defines the capacity that --load refers to"
    source = "docs/design.md section 7, order replaced"
    guarded = False

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(_by_job)
