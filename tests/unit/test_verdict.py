"""What runs come to: percentiles, warm-up, throughput, and figures over seeds."""

from __future__ import annotations

import hashlib

import pytest
from attrs import evolve

from astraea.errors import UsageError
from astraea.simulator.results import JobResult, RunResult
from astraea.simulator.verdict import (
    judge,
    judge_seed,
    middle_throughput,
    percentile,
    settled_jobs,
    slowdowns_of,
)

S = 1_000_000


def job(number, jct_s, *, alone_s=1, queue_s=0, arrival_s=None):
    arrival_us = (number if arrival_s is None else arrival_s) * S
    return JobResult(f"j{number}", arrival_us, arrival_us + jct_s * S, alone_s * S, 0, queue_s * S, 1)


def run(jobs, **changes):
    base = RunResult(
        policy="fcfs",
        digest="d0",
        jobs=tuple(jobs),
        makespan_us=100 * S,
        busy_us=50 * S,
        steps=10,
        prefill_tokens=1_000,
        recomputed_tokens=250,
        swapped_tokens=7,
        preemptions=2,
        worst_bypass=5,
        bypass_bound=None,
        decide_us_p50=10.0,
        decide_us_p99=20.0,
    )
    return evolve(base, **changes)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7], 1, 7),
        ([7], 99, 7),
        ([4, 1, 3, 2], 50, 2),
        ([4, 1, 3, 2], 51, 3),
        ([4, 1, 3, 2], 100, 4),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 102)), 99, 100),
    ],
)
def test_percentiles_follow_the_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(UsageError, match="no job"):
        percentile([], 50)


def test_the_warm_up_leaves_out_the_first_jobs_by_arrival():
    result = run([job(n, 1) for n in range(25)])
    assert [j.job_id for j in settled_jobs(result, 0.1)][:2] == ["j2", "j3"]
    assert settled_jobs(result, 0.0) == result.jobs
    assert len(settled_jobs(result, 0.99)) == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, 2, float("nan")])
def test_a_warm_up_share_outside_its_bounds_is_refused(share):
    with pytest.raises(UsageError, match="warm-up share"):
        settled_jobs(run([job(0, 1)]), share)


def test_throughput_is_over_the_middle_of_the_completions():
    # Completions at 1 .. 20 s, then one straggler each side that the middle must not see.
    jobs = [job(n, n, arrival_s=0) for n in range(1, 21)]
    assert middle_throughput(jobs) == 1.0  # of 20, 2 and 2 are left out: 15 gaps in 15 s
    late = [*jobs[:-1], job(20, 5_000, arrival_s=0)]
    assert middle_throughput(late) == 1.0


def test_throughput_of_few_jobs():
    assert middle_throughput([job(0, 4)]) == 0.25
    assert middle_throughput([job(0, 4, arrival_s=0), job(1, 4, arrival_s=0)]) == 0.0
    with pytest.raises(UsageError, match="no job"):
        middle_throughput([])


def test_slowdown_is_over_the_time_alone():
    assert slowdowns_of([job(0, 6, alone_s=2), job(1, 5, alone_s=4)]) == [3.0, 1.25]


def test_figures_of_jobs_leave_the_warm_up_out_and_figures_of_the_run_do_not():
    jobs = [job(0, 1_000, queue_s=900), *(job(n, n, alone_s=1, queue_s=2) for n in range(1, 10))]
    verdict = judge_seed(run(jobs), seed=4, warmup_share=0.1)
    assert (verdict.seed, verdict.jobs) == (4, 10)
    assert verdict.mean_jct_s == 5.0
    assert (verdict.p50_jct_s, verdict.p95_jct_s, verdict.p99_jct_s) == (5.0, 9.0, 9.0)
    assert (verdict.max_slowdown, verdict.p99_slowdown, verdict.mean_queue_s) == (9.0, 9.0, 2.0)
    assert (verdict.recomputed_share, verdict.swapped_tokens, verdict.preemptions) == (0.25, 7, 2)
    assert (verdict.worst_bypass, verdict.bypass_bound, verdict.digest) == (5, None, "d0")


def test_a_run_without_prefill_has_no_recomputed_share():
    verdict = judge_seed(run([job(0, 1)], prefill_tokens=0, recomputed_tokens=0), seed=0, warmup_share=0)
    assert verdict.recomputed_share == 0.0


def test_over_seeds_figures_are_means_and_the_worst_are_maxima():
    first = run([job(0, 2)], worst_bypass=3, bypass_bound=64, preemptions=2)
    second = run([job(0, 5, alone_s=2)], worst_bypass=9, bypass_bound=64, preemptions=5, digest="d1")
    verdict = judge("astraea", {1: second, 0: first}, 0.0)
    assert verdict.policy == "astraea"
    assert (verdict.mean_jct_s, verdict.p99_jct_s, verdict.preemptions) == (3.5, 3.5, 3.5)
    assert (verdict.max_slowdown, verdict.p99_slowdown) == (2.5, 2.25)
    assert (verdict.worst_bypass, verdict.bypass_bound) == (9, 64)
    assert [seed.seed for seed in verdict.per_seed] == [0, 1]
    assert verdict.digest == hashlib.sha256(b"d0\nd1\n").hexdigest()


def test_one_seed_keeps_its_own_digest_and_whole_counts():
    verdict = judge("fcfs", {0: run([job(0, 2)])}, 0.0)
    assert verdict.digest == "d0"
    assert isinstance(verdict.preemptions, int)


def test_no_run_is_no_verdict():
    with pytest.raises(UsageError, match="no run"):
        judge("fcfs", {}, 0.0)


def test_json_has_the_promised_keys():
    record = judge("fcfs", {0: run([job(0, 2)])}, 0.0).as_json()
    assert list(record) == [
        "policy", "mean_jct_s", "p50_jct_s", "p95_jct_s", "p99_jct_s", "max_slowdown", "p99_slowdown", "mean_queue_s",
        "recomputed_share", "swapped_tokens", "preemptions", "throughput_jobs_per_s", "worst_bypass", "bypass_bound",
        "decide_us_p50", "decide_us_p99", "digest", "per_seed",
    ]  # fmt: skip
    (seed,) = record["per_seed"]
    assert set(seed) == set(record) - {"policy", "per_seed"} | {"seed", "jobs"}
