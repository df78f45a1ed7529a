"""What runs of one policy say: completion times, slowdowns and costs, per seed and over seeds.

Three rules hold for every figure here:

* **Percentiles** follow the nearest-rank rule: the p-th percentile of n values is the ``ceil(p * n / 100)``-th
  smallest, so it is always a value that occurred.
* **Warm-up.** Figures of jobs (completion time, slowdown, queue) leave out the first ``warmup_share`` of the jobs by
  arrival. Figures of the run (recomputed share, swaps, preemptions, throughput, bypass) count everything.
* **Over seeds** a figure is the mean of the per-seed figures, percentiles included; ``max_slowdown`` and
  ``worst_bypass`` are the maxima.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from statistics import fmean

from attrs import asdict, frozen

from astraea.errors import UsageError
from astraea.simulator.results import JobResult, RunResult
from astraea.units import US_PER_S, ceil_div

__all__ = [
    "PolicyVerdict",
    "SeedVerdict",
    "combine",
    "judge",
    "judge_seed",
    "middle_throughput",
    "percentile",
    "settled_jobs",
    "slowdowns_of",
]

_TRIM_PERCENT = 10
"""Completions left out at either end of a throughput."""


@frozen(slots=True, kw_only=True)
class SeedVerdict:
    """The figures of one run: one policy, one seed."""

    seed: int
    jobs: int
    """Jobs of the run, those of the warm-up included."""
    mean_jct_s: float
    p50_jct_s: float
    p95_jct_s: float
    p99_jct_s: float
    max_slowdown: float
    """Completion time over the job's time alone on the engine."""
    p99_slowdown: float
    mean_queue_s: float
    recomputed_share: float
    """Of the prompt tokens computed, the share that had been computed before in the same context."""
    swapped_tokens: int
    preemptions: int
    throughput_jobs_per_s: float
    worst_bypass: int
    bypass_bound: int | None
    decide_us_p50: float
    decide_us_p99: float
    digest: str


@frozen(slots=True, kw_only=True)
class PolicyVerdict:
    """The figures of one policy over all seeds, as the module's three rules say."""

    policy: str
    mean_jct_s: float
    p50_jct_s: float
    p95_jct_s: float
    p99_jct_s: float
    max_slowdown: float
    p99_slowdown: float
    mean_queue_s: float
    recomputed_share: float
    swapped_tokens: float
    preemptions: float
    throughput_jobs_per_s: float
    worst_bypass: int
    bypass_bound: int | None
    decide_us_p50: float
    decide_us_p99: float
    digest: str
    """Of one seed: the run's own. Of several: SHA-256 over theirs, in order of seed, one a line."""
    per_seed: tuple[SeedVerdict, ...]

    def as_json(self) -> dict[str, object]:
        """Return the figures under the names of the fields, ready for JSON."""
        record = asdict(self, recurse=False)
        record["per_seed"] = [asdict(verdict) for verdict in self.per_seed]
        return record


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile, ``percent`` in 1 .. 100, of values that need not be sorted."""
    if not values:
        raise UsageError("there is no job to take a percentile of")
    return sorted(values)[ceil_div(percent * len(values), 100) - 1]


def settled_jobs(result: RunResult, warmup_share: float) -> tuple[JobResult, ...]:
    """Return the jobs after the warm-up; :class:`UsageError` for a share outside [0, 1)."""
    if not 0 <= warmup_share < 1:
        raise UsageError(f"the warm-up share must be at least 0 and below 1, not {warmup_share!r}")
    return result.jobs[int(len(result.jobs) * warmup_share) :]


def middle_throughput(jobs: Sequence[JobResult]) -> float:
    """Return jobs per second over the middle 80 % of the completions; 0 where no time passes.

    Of n completions the first and the last ``n // 10`` are left out; what remains, less one, is divided by the time
    from the first of them to the last. A single job is divided by the time from its arrival.
    """
    ends_us = sorted(job.finished_us for job in jobs)
    trim = len(ends_us) * _TRIM_PERCENT // 100
    middle_us = ends_us[trim : len(ends_us) - trim]
    if not middle_us:
        raise UsageError("there is no job to take a throughput of")
    count, span_us = len(middle_us) - 1, middle_us[-1] - middle_us[0]
    if not count:
        count, span_us = 1, jobs[0].jct_us
    return count * US_PER_S / span_us if span_us else 0.0


def judge_seed(result: RunResult, seed: int, warmup_share: float) -> SeedVerdict:
    """Return the figures of one run; :class:`UsageError` for a bad warm-up share or a run without jobs."""
    jobs = settled_jobs(result, warmup_share)
    jcts_s = [job.jct_us / US_PER_S for job in jobs]
    slowdowns = slowdowns_of(jobs)
    return SeedVerdict(
        seed=seed,
        jobs=len(result.jobs),
        p50_jct_s=percentile(jcts_s, 50),
        p95_jct_s=percentile(jcts_s, 95),
        p99_jct_s=percentile(jcts_s, 99),
        mean_jct_s=_rounded(fmean(jcts_s)),
        max_slowdown=max(slowdowns),
        p99_slowdown=percentile(slowdowns, 99),
        mean_queue_s=_rounded(fmean(job.queue_us / US_PER_S for job in jobs)),
        recomputed_share=_rounded(result.recomputed_tokens / max(1, result.prefill_tokens)),
        swapped_tokens=result.swapped_tokens,
        preemptions=result.preemptions,
        throughput_jobs_per_s=_rounded(middle_throughput(result.jobs)),
        worst_bypass=result.worst_bypass,
        bypass_bound=result.bypass_bound,
        decide_us_p50=result.decide_us_p50,
        decide_us_p99=result.decide_us_p99,
        digest=result.digest,
    )


def judge(policy: str, runs: Mapping[int, RunResult], warmup_share: float) -> PolicyVerdict:
    """Return the figures of a policy from its runs by seed.

    Raises :class:`UsageError` for a bad warm-up share, no run, or a run without jobs.
    """
    return combine(policy, [judge_seed(runs[seed], seed, warmup_share) for seed in sorted(runs)])


def combine(policy: str, seeds: Sequence[SeedVerdict]) -> PolicyVerdict:
    """Return the figures of a policy from those of its seeds, in their order; :class:`UsageError` for none."""
    if not seeds:
        raise UsageError(f"policy {policy!r} has no run to judge")
    return PolicyVerdict(
        policy=policy,
        mean_jct_s=_mean([seed.mean_jct_s for seed in seeds]),
        p50_jct_s=_mean([seed.p50_jct_s for seed in seeds]),
        p95_jct_s=_mean([seed.p95_jct_s for seed in seeds]),
        p99_jct_s=_mean([seed.p99_jct_s for seed in seeds]),
        max_slowdown=max(seed.max_slowdown for seed in seeds),
        p99_slowdown=_mean([seed.p99_slowdown for seed in seeds]),
        mean_queue_s=_mean([seed.mean_queue_s for seed in seeds]),
        recomputed_share=_mean([seed.recomputed_share for seed in seeds]),
        swapped_tokens=_mean([seed.swapped_tokens for seed in seeds]),
        preemptions=_mean([seed.preemptions for seed in seeds]),
        throughput_jobs_per_s=_mean([seed.throughput_jobs_per_s for seed in seeds]),
        worst_bypass=max(seed.worst_bypass for seed in seeds),
        bypass_bound=seeds[0].bypass_bound,
        decide_us_p50=_mean([seed.decide_us_p50 for seed in seeds]),
        decide_us_p99=_mean([seed.decide_us_p99 for seed in seeds]),
        digest=_combined([seed.digest for seed in seeds]),
        per_seed=tuple(seeds),
    )


def slowdowns_of(jobs: Sequence[JobResult]) -> list[float]:
    """Return each job's completion time over its time alone on the engine."""
    return [_rounded(job.jct_us / max(1, job.alone_us)) for job in jobs]


def _mean(values: Sequence[float]) -> float:
    """Return the mean; a single value, or several alike, as it stands, so that a count stays a whole number."""
    return values[0] if len(set(values)) == 1 else _rounded(fmean(values))


def _combined(digests: Sequence[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def _rounded(value: float) -> float:
    """Return the value to six decimals: microseconds, where it is in seconds."""
    return round(value, 6)
