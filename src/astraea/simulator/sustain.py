"""Sustained load: the highest rate of arrivals at which jobs are still served well, by bisection on common seeds.

Served well means that the mean slowdown (a job's completion time over its time alone on the engine) after the warm-up,
averaged over the seeds, is at most a target. Rates lie on a fixed grid around the capacity, 2^(1/64) apart, so that
each policy takes the same number of probes and two policies never differ by less than they were told apart. All probes
of a seed have the same jobs and the same gaps, stretched; a mean slowdown that falls as the rate rises, by luck of how
turns meet, can mislead a bisection, and more seeds make that rarer.

A run is finite: at any rate only so many jobs come, so that a little beyond saturation the mean may still be below the
target. More jobs give a lower and truer answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from attrs import asdict, frozen

from astraea.errors import UsageError
from astraea.simulator.capacity import capacity_jobs_per_s
from astraea.simulator.experiment import Progress, check_numbers, check_policies, stage
from astraea.simulator.jobs import JobSpec
from astraea.simulator.parallel import RunRequest, default_workers, run_all, side_by_side
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.scenario import JobSource, Scenario
from astraea.simulator.verdict import settled_jobs, slowdowns_of

__all__ = ["PROBES", "Sustained", "SustainedReport", "find_sustained", "highest_passing"]

PROBES = 9
"""Rates that are tried for each policy: ``2^9 - 1`` points of the grid."""
_POINTS = (1 << PROBES) - 1
_POINTS_PER_OCTAVE = 64
_POINT_OF_CAPACITY = 320
"""Five octaves of the grid lie below the capacity and nearly three above it."""


@frozen(slots=True, kw_only=True)
class Sustained:
    """What one policy sustains."""

    policy: str
    rate_jobs_per_s: float | None
    """``None`` where even the lowest rate of the grid is too much."""
    load: float | None
    """The rate over the capacity."""
    mean_slowdown: float | None
    """At that rate."""
    is_highest_tried: bool
    """The grid ends here: what the policy sustains may be more."""
    probes: tuple[tuple[float, float], ...]
    """Every load that was tried and the mean slowdown there, in the order of trial.

    Above the target it may be a lower bound: once the first seeds are too slow for any mean, the others are not run.
    """


@frozen(slots=True, kw_only=True)
class SustainedReport:
    """What a search found."""

    scenario: Scenario
    workload: str
    engine: str
    slowdown_max: float
    capacity_jobs_per_s: float
    jobs: int
    seeds: int
    policies: tuple[Sustained, ...]
    """In the order asked for."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the report under the keys that ``astraea simulate --sustain --json`` prints."""
        return {
            "workload": self.workload,
            "engine": self.engine,
            "slowdown_max": self.slowdown_max,
            "capacity_jobs_per_s": self.capacity_jobs_per_s,
            "jobs": self.jobs,
            "seeds": self.seeds,
            "policies": [asdict(sustained) for sustained in self.policies],
        }


@frozen(slots=True, kw_only=True)
class _Search:
    """One policy's bisection, as a process gets it."""

    policy: str
    scenario: Scenario
    profile: EngineProfile
    drawn: tuple[tuple[JobSpec, ...], ...]
    """The jobs of each seed, without arrivals."""
    capacity_jobs_per_s: float
    slowdown_max: float
    warmup_share: float


def find_sustained(
    scenario: Scenario,
    slowdown_max: float,
    *,
    policies: Sequence[str],
    seeds: int = 1,
    warmup_share: float = 0.1,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> SustainedReport:
    """Search for each policy, side by side in ``workers`` processes; see ``run_experiment`` for the arguments.

    The scenario says nothing of when jobs arrive but the process. Raises as ``run_experiment`` does.
    """
    _check(scenario, slowdown_max)
    policies = check_policies(policies)
    check_numbers(scenario, seeds, warmup_share, workers)
    profile = scenario.profile()
    source = JobSource(scenario, profile, [])
    drawn = tuple(tuple(source.draw(seed)) for seed in range(seeds))
    capacity = capacity_jobs_per_s(
        drawn[0], profile, host_ratio=scenario.host_ratio, on_progress=stage(on_progress, "capacity")
    )
    searches = [
        _Search(
            policy=policy,
            scenario=scenario,
            profile=profile,
            drawn=drawn,
            capacity_jobs_per_s=capacity,
            slowdown_max=slowdown_max,
            warmup_share=warmup_share,
        )
        for policy in policies
    ]
    total = len(policies) * PROBES * sum(len(jobs) for jobs in drawn)
    told = stage(on_progress, "policies")
    found = side_by_side(_search, searches, total, workers=workers or default_workers(), on_progress=told)
    return SustainedReport(
        scenario=scenario,
        workload=scenario.name,
        engine=profile.name,
        slowdown_max=slowdown_max,
        capacity_jobs_per_s=capacity,
        jobs=len(drawn[0]),
        seeds=seeds,
        policies=tuple(found),
        notes=tuple(source.notes),
    )


def highest_passing(passes: Callable[[int], bool], points: int) -> int:
    """Return the largest point of ``0 .. points - 1`` that passes, or -1, if all below a passing one pass too.

    With ``points`` one less than a power of two, ``2^n - 1``, it asks exactly n times.
    """
    passing, failing = -1, points
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if passes(middle):
            passing = middle
        else:
            failing = middle
    return passing


def _check(scenario: Scenario, slowdown_max: float) -> None:
    if not slowdown_max > 1:
        raise UsageError(f"the mean slowdown to sustain must be above 1, not {slowdown_max!r}")
    if any(given is not None for given in (scenario.load, scenario.rate_jobs_per_s, scenario.agents)):
        raise UsageError("what is sustained is a rate to be found: name no load, rate or agents")
    if scenario.arrivals == "recorded":
        raise UsageError("recorded arrivals have a rate of their own: there is none to find")


def _load_of(point: int) -> float:
    return float(2.0 ** ((point - _POINT_OF_CAPACITY) / _POINTS_PER_OCTAVE))


def _search(search: _Search, on_progress: Callable[[int, int], None]) -> Sustained:
    probes: dict[int, float] = {}
    jobs = sum(len(drawn) for drawn in search.drawn)

    def passes(point: int) -> bool:
        before = len(probes) * jobs
        probes[point] = _mean_slowdown(search, _load_of(point), lambda done: on_progress(before + done, PROBES * jobs))
        return probes[point] <= search.slowdown_max

    best = highest_passing(passes, _POINTS)
    load = _load_of(best) if best >= 0 else None
    return Sustained(
        policy=search.policy,
        rate_jobs_per_s=None if load is None else round(load * search.capacity_jobs_per_s, 9),
        load=None if load is None else round(load, 4),
        mean_slowdown=probes.get(best),
        is_highest_tried=best == _POINTS - 1,
        probes=tuple((round(_load_of(point), 4), slowdown) for point, slowdown in probes.items()),
    )


def _mean_slowdown(search: _Search, load: float, on_progress: Callable[[int], None]) -> float:
    """Return the mean over the seeds, or, once it is sure to be above the target, a lower bound of it."""
    rate = load * search.capacity_jobs_per_s
    count = len(search.drawn)
    total, done = 0.0, 0
    for seed, drawn in enumerate(search.drawn):
        request = RunRequest(
            policy=search.policy,
            seed=seed,
            jobs=tuple(search.scenario.arrive(list(drawn), rate, seed)),
            profile=search.profile,
            host_ratio=search.scenario.host_ratio,
        )
        before = done
        (result,) = run_all([request], on_progress=lambda now, _, before=before: on_progress(before + now))  # type: ignore[misc]
        total += fmean(slowdowns_of(settled_jobs(result, search.warmup_share)))
        done += len(drawn)
        if total > count * search.slowdown_max:
            on_progress(sum(len(jobs) for jobs in search.drawn))
            break
    return round(total / count, 6)
