from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import pairwise

import pytest

from astraea.errors import UsageError
from astraea.simulator.arrivals import all_at_zero, as_recorded, bursty, poisson, resample
from astraea.simulator.jobs import JobSpec, TurnSpec

TURNS = (TurnSpec(1, 1, 1, None, 0),)


def jobs(*arrivals_us: int | None) -> list[JobSpec]:
    return [JobSpec(f"j{index}", TURNS, at_us, session_id="s") for index, at_us in enumerate(arrivals_us)]


def gaps_s(arrived: list[JobSpec]) -> list[float]:
    times = [0, *(job.arrival_us for job in arrived)]
    return [(later - earlier) / 1e6 for earlier, later in pairwise(times)]


def test_resample_goes_through_the_trace_permutation_after_permutation():
    drawn = resample(jobs(*[5] * 10), 34, seed=1)
    sources = [job.job_id.split("#")[0] for job in drawn]
    for start in (0, 10, 20):
        assert len(set(sources[start : start + 10])) == 10
    assert len(set(sources[30:])) == 4
    assert sources[:10] != sources[10:20]
    assert set(Counter(sources).values()) == {3, 4}


def test_resampled_jobs_have_ids_and_sessions_of_their_own():
    drawn = resample(jobs(*[5] * 3), 9, seed=1)
    assert len({job.job_id for job in drawn}) == 9
    assert len({job.session_id for job in drawn}) == 9
    assert {job.arrival_us for job in drawn} == {None}
    assert {job.turns for job in drawn} == {TURNS}


def test_resample_depends_on_the_seed_alone():
    source = jobs(*[None] * 20)
    assert resample(source, 30, seed=1) == resample(source, 30, seed=1)
    assert resample(source, 30, seed=1) != resample(source, 30, seed=2)
    assert resample(source, 30, seed=1)[:12] == resample(source, 12, seed=1)
    assert source == jobs(*[None] * 20)


def test_recorded_arrivals_are_sorted_and_begin_at_zero():
    arrived = as_recorded(jobs(9, 4, 7, 4))
    assert [(job.job_id, job.arrival_us) for job in arrived] == [("j1", 0), ("j3", 0), ("j2", 3), ("j0", 5)]


def test_an_arrival_that_is_not_recorded_is_refused():
    with pytest.raises(UsageError, match="job 'j1' has no recorded arrival"):
        as_recorded(jobs(3, None))


def test_all_at_zero_keeps_the_order():
    assert [(job.job_id, job.arrival_us) for job in all_at_zero(jobs(9, None))] == [("j0", 0), ("j1", 0)]


def test_poisson_gaps_have_the_rate_and_a_variation_of_one():
    arrived = poisson(jobs(*[None] * 5_000), 2.0, seed=3)
    assert [job.job_id for job in arrived] == [f"j{index}" for index in range(5_000)]
    assert min(gaps_s(arrived)) >= 0
    assert statistics.mean(gaps_s(arrived)) == pytest.approx(0.5, rel=0.05)
    assert statistics.stdev(gaps_s(arrived)) == pytest.approx(0.5, rel=0.06)
    assert arrived == poisson(jobs(*[7] * 5_000), 2.0, seed=3)
    assert arrived != poisson(jobs(*[7] * 5_000), 2.0, seed=4)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_bursty_gaps_have_the_rate_and_the_variation_asked_for(cv):
    gaps = gaps_s(bursty(jobs(*[None] * 20_000), 2.0, 5, cv))
    assert statistics.mean(gaps) == pytest.approx(0.5, rel=0.06)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(cv, rel=0.06)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, 5e-324])
def test_a_rate_or_variation_that_is_no_positive_number_is_refused(bad):
    with pytest.raises(UsageError, match="the rate of arrivals must be a number above 0"):
        poisson(jobs(None), bad, seed=0)
    with pytest.raises(UsageError, match="the rate of arrivals must be a number above 0"):
        bursty(jobs(None), bad, 0, 1.0)
    with pytest.raises(UsageError, match="the coefficient of variation must be a number above 0"):
        bursty(jobs(None), 1.0, 0, bad)


def test_nothing_to_draw_a_bad_count_and_a_bad_seed_are_refused():
    with pytest.raises(UsageError, match="no job to draw from"):
        resample([], 1, seed=0)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        resample(jobs(None), 0, seed=0)
    for refused in (lambda: resample(jobs(None), 1, -1), lambda: poisson(jobs(None), 1.0, -1)):
        with pytest.raises(UsageError, match="a seed must be at least 0"):
            refused()
