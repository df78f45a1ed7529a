"""When jobs arrive: drawing jobs from a trace, and arrival processes over a list of jobs.

Every function returns new jobs and leaves those it was given alone. Lists with arrivals are in order of arrival.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import evolve

from astraea.errors import UsageError
from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.dice import Dice
from astraea.units import us_from_seconds

__all__ = ["all_at_zero", "as_recorded", "bursty", "poisson", "resample"]


def resample(jobs: list[JobSpec], count: int, seed: int) -> list[JobSpec]:
    """Return ``count`` jobs drawn by seeded permutations of the trace, permutation after permutation.

    Every job gets a job id of its own, ``<job_id>#<index>``, and a session of its own; arrivals are forgotten. Raises
    :class:`UsageError` for an empty trace, a count below 1, or a bad seed.
    """
    dice = Dice(seed)
    if not jobs:
        raise UsageError("there is no job to draw from")
    if count < 1:
        raise UsageError(f"the number of jobs must be at least 1, not {count}")
    drawn: list[JobSpec] = []
    while len(drawn) < count:
        for index in dice.permutation(len(jobs))[: count - len(drawn)]:
            job = jobs[index]
            job_id = f"{job.job_id}#{len(drawn)}"
            drawn.append(evolve(job, job_id=job_id, session_id=job_id, arrival_us=None))
    return drawn


def as_recorded(jobs: list[JobSpec]) -> list[JobSpec]:
    """Return the jobs by recorded arrival, the first at zero; :class:`UsageError` where one has none."""
    arrivals_us = []
    for job in jobs:
        if job.arrival_us is None:
            raise UsageError(f"job {job.job_id!r} has no recorded arrival: draw arrivals instead")
        arrivals_us.append(job.arrival_us)
    first_us = min(arrivals_us, default=0)
    shifted = [evolve(job, arrival_us=at_us - first_us) for job, at_us in zip(jobs, arrivals_us, strict=True)]
    order = sorted(range(len(jobs)), key=lambda index: arrivals_us[index])
    return [shifted[index] for index in order]


def poisson(jobs: list[JobSpec], rate_jobs_per_s: float, seed: int) -> list[JobSpec]:
    """Return the jobs, in the order given, with exponential gaps; :class:`UsageError` for a bad rate or seed."""
    dice = Dice(seed)
    mean_s = 1.0 / _positive(rate_jobs_per_s, "the rate of arrivals")
    return _spaced(jobs, (dice.exponential(mean_s) for _ in jobs))


def bursty(jobs: list[JobSpec], rate_jobs_per_s: float, seed: int, cv: float) -> list[JobSpec]:
    """Return the jobs, in the order given, with gamma gaps of the coefficient of variation ``cv``.

    1 is Poisson, more is burstier, less is more even. Raises :class:`UsageError` for a bad rate, seed or coefficient.
    """
    dice = Dice(seed)
    mean_s = 1.0 / _positive(rate_jobs_per_s, "the rate of arrivals")
    _positive(cv, "the coefficient of variation")
    return _spaced(jobs, (dice.gamma(mean_s, cv) for _ in jobs))


def all_at_zero(jobs: list[JobSpec]) -> list[JobSpec]:
    """Return the jobs, in the order given, all present at time zero."""
    return [evolve(job, arrival_us=0) for job in jobs]


def _spaced(jobs: list[JobSpec], gaps_s: Iterator[float]) -> list[JobSpec]:
    """Return the jobs with the first gap before the first job; each gap is rounded to microseconds on its own."""
    arrived: list[JobSpec] = []
    now_us = 0
    for job, gap_s in zip(jobs, gaps_s, strict=True):
        now_us += us_from_seconds(gap_s)
        arrived.append(evolve(job, arrival_us=now_us))
    return arrived


def _positive(value: float, what: str) -> float:
    """Return ``value`` if it is a finite number above zero and so is its inverse."""
    if not value > 0 or not math.isfinite(value) or not math.isfinite(1.0 / value):
        raise UsageError(f"{what} must be a number above 0, not {value!r}")
    return value
