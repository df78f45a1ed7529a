"""One scenario under several policies and seeds: who arrives when, who ran, and what came of it.

The rate of arrivals follows from the load and the capacity. The capacity is taken from the jobs of seed 0, so that a
further seed changes nothing for those before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from astraea.errors import UsageError
from astraea.rivals import policy_names
from astraea.simulator.capacity import capacity_jobs_per_s
from astraea.simulator.parallel import RunRequest, default_workers, run_all
from astraea.simulator.results import RunResult
from astraea.simulator.scenario import JobSource, Scenario, check_name
from astraea.simulator.verdict import PolicyVerdict, judge, settled_jobs, slowdowns_of

__all__ = [
    "DEFAULT_POLICIES",
    "Progress",
    "Report",
    "check_numbers",
    "check_policies",
    "record_file",
    "run_experiment",
    "stage",
]

DEFAULT_POLICIES = ("fcfs", "job-fcfs", "astraea-paper", "astraea", "srpt-oracle")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is running (``capacity`` or ``policies``), the jobs done and the jobs in all."""


@frozen(slots=True, kw_only=True)
class Report:
    """What an experiment found."""

    scenario: Scenario
    workload: str
    engine: str
    capacity_jobs_per_s: float | None
    """``None`` where no load was asked for, so that nothing depends on it."""
    rate_jobs_per_s: float | None
    """``None`` for recorded arrivals and for a closed loop."""
    jobs: int
    """Jobs of the first seed; ``per_seed`` has those of each."""
    seeds: int
    policies: tuple[PolicyVerdict, ...]
    """In the order asked for."""
    slowdowns: Mapping[str, tuple[float, ...]]
    """By policy, every job after the warm-up of every seed, sorted; for plots."""
    notes: tuple[str, ...]
    """Sentences about what was left out."""

    def as_json(self) -> dict[str, object]:
        """Return the report under the keys that ``astraea simulate --json`` prints."""
        return {
            "workload": self.workload,
            "engine": self.engine,
            "capacity_jobs_per_s": self.capacity_jobs_per_s,
            "rate_jobs_per_s": self.rate_jobs_per_s,
            "jobs": self.jobs,
            "seeds": self.seeds,
            "policies": [verdict.as_json() for verdict in self.policies],
        }


def run_experiment(
    scenario: Scenario,
    *,
    policies: Sequence[str] = DEFAULT_POLICIES,
    seeds: int = 1,
    warmup_share: float = 0.1,
    workers: int | None = None,
    record: Path | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Run every policy on the same jobs and arrivals for seeds 0 .. ``seeds - 1``, and judge them.

    ``workers`` processes work side by side, by default one a core; where there are several, a script that calls this
    needs its ``__main__`` guard. ``record`` is a folder for one trace a policy and seed. Raises :class:`UsageError`
    for what cannot be carried out and :class:`~astraea.errors.TraceError` for a malformed line of the workload.
    """
    policies = check_policies(policies)
    check_numbers(scenario, seeds, warmup_share, workers)
    profile = scenario.profile()
    source = JobSource(scenario, profile, [])
    drawn = [source.draw(seed) for seed in range(seeds)]
    capacity, rate = None, scenario.rate_jobs_per_s
    if scenario.asked_load is not None:
        capacity = capacity_jobs_per_s(
            drawn[0], profile, host_ratio=scenario.host_ratio, on_progress=stage(on_progress, "capacity")
        )
        rate = capacity * scenario.asked_load
    arrived = [tuple(scenario.arrive(jobs, rate, seed)) for seed, jobs in enumerate(drawn)]
    requests = [
        RunRequest(
            policy=policy,
            seed=seed,
            jobs=jobs,
            profile=profile,
            host_ratio=scenario.host_ratio,
            agents=scenario.agents,
            record=None if record is None else record_file(record, scenario, policy, seed),
        )
        for seed, jobs in enumerate(arrived)
        for policy in policies
    ]
    results = run_all(requests, workers=workers or default_workers(), on_progress=stage(on_progress, "policies"))
    runs: dict[str, dict[int, RunResult]] = {policy: {} for policy in policies}
    for request, result in zip(requests, results, strict=True):
        runs[request.policy][request.seed] = result
    return Report(
        scenario=scenario,
        workload=scenario.name,
        engine=profile.name,
        capacity_jobs_per_s=capacity,
        rate_jobs_per_s=rate,
        jobs=len(drawn[0]),
        seeds=seeds,
        policies=tuple(judge(policy, runs[policy], warmup_share) for policy in policies),
        slowdowns={policy: _slowdowns(runs[policy], warmup_share) for policy in policies},
        notes=tuple(source.notes),
    )


def check_policies(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names in order, each once; :class:`UsageError` for none or an unknown one."""
    if not names:
        raise UsageError("name at least one policy")
    for name in names:
        check_name("policy", name, policy_names())
    return tuple(dict.fromkeys(names))


def check_numbers(scenario: Scenario, seeds: int, warmup_share: float, workers: int | None) -> None:
    """Raise :class:`UsageError` for a number of seeds or workers, or a warm-up, that cannot be."""
    if seeds < 1:
        raise UsageError(f"the number of seeds must be at least 1, not {seeds}")
    if seeds > 1 and scenario.arrivals == "recorded":
        raise UsageError("recorded arrivals are the same for every seed: ask for one seed")
    if not 0 <= warmup_share < 1:
        raise UsageError(f"the warm-up share must be at least 0 and below 1, not {warmup_share!r}")
    if workers is not None and workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")


def stage(on_progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """Return the callback of one stage, or ``None`` where nobody is told."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(name, done, total)


def record_file(folder: Path, scenario: Scenario, policy: str, seed: int) -> Path:
    """Return ``FOLDER/<workload>-<policy>-seed<n>.ndjson``, and make the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: traces cannot be recorded there ({error.strerror})") from error
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(scenario.name).stem)
    return folder / f"{stem}-{policy}-seed{seed}.ndjson"


def _slowdowns(runs: Mapping[int, RunResult], warmup_share: float) -> tuple[float, ...]:
    return tuple(
        sorted(value for result in runs.values() for value in slowdowns_of(settled_jobs(result, warmup_share)))
    )
