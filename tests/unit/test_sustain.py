"""``astraea simulate --sustain``: the bisection, what it finds on a small engine, the JSON and the mistakes."""

from __future__ import annotations

import json

import pytest

from astraea.cli.app import run
from astraea.errors import UsageError
from astraea.simulator import sustain
from astraea.simulator.experiment import run_experiment
from astraea.simulator.scenario import Scenario
from astraea.simulator.sustain import PROBES, find_sustained, highest_passing
from astraea.simulator.verdict import percentile

SMALL = Scenario(workload="calculator", jobs=30)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("last", range(-1, 7))
def test_the_bisection_finds_the_last_point_that_passes_and_asks_three_times_of_seven(last):
    asked = []

    def passes(point):
        asked.append(point)
        return point <= last

    assert highest_passing(passes, 7) == last
    assert len(asked) == 3


def test_what_is_sustained_is_within_the_target_and_the_next_rate_tried_above_it_is_not():
    report = find_sustained(SMALL, 2.0, policies=["fcfs", "astraea"], seeds=2, workers=1)
    assert [sustained.policy for sustained in report.policies] == ["fcfs", "astraea"]
    for sustained in report.policies:
        assert len(sustained.probes) == PROBES
        assert sustained.mean_slowdown <= 2.0
        above = [slowdown for load, slowdown in sustained.probes if load > sustained.load]
        assert min(above) > 2.0
        assert sustained.rate_jobs_per_s == pytest.approx(sustained.load * report.capacity_jobs_per_s, rel=1e-3)


def test_its_mean_slowdown_is_that_of_a_run_at_the_rate_found():
    (sustained,) = find_sustained(SMALL, 3.0, policies=["job-fcfs"], workers=1).policies
    report = run_experiment(
        Scenario(workload="calculator", jobs=30, rate_jobs_per_s=sustained.rate_jobs_per_s),
        policies=["job-fcfs"], workers=1,
    )  # fmt: skip
    slowdowns = report.slowdowns["job-fcfs"]
    assert sum(slowdowns) / len(slowdowns) == pytest.approx(sustained.mean_slowdown, rel=1e-3)
    assert percentile(slowdowns, 100) > 3.0


def test_seeds_that_cannot_save_a_rate_are_not_run(monkeypatch):
    ran = []
    inner = sustain.run_all

    def watched(requests, **options):
        ran.append(requests[0].seed)
        return inner(requests, **options)

    monkeypatch.setattr(sustain, "run_all", watched)
    more = Scenario(workload="calculator", jobs=100)
    one, two = (find_sustained(more, 1.3, policies=["fcfs"], seeds=seeds, workers=1).policies[0] for seeds in (1, 2))
    assert len(ran) < PROBES + 2 * PROBES
    load, slowdown = max(one.probes)
    assert slowdown > 2 * 1.3, "the first seed alone is too slow for a mean of two"
    assert dict(two.probes)[load] == pytest.approx(slowdown / 2)


def test_a_looser_target_is_sustained_at_a_higher_rate():
    rates = [
        find_sustained(SMALL, slowdown, policies=["fcfs"], workers=1).policies[0].rate_jobs_per_s
        for slowdown in (1.5, 3.0)
    ]
    assert rates[0] < rates[1]


def test_the_ends_of_the_grid_are_told_for_what_they_are():
    (low,) = find_sustained(SMALL, 1.0000001, policies=["fcfs"], workers=1).policies
    assert (low.rate_jobs_per_s, low.load, low.mean_slowdown) == (None, None, None)
    (high,) = find_sustained(SMALL, 1e9, policies=["fcfs"], workers=1).policies
    assert high.is_highest_tried
    assert high.load > 2.9


def test_two_processes_find_what_one_finds_and_tell_all_of_the_progress():
    told = []
    alone, beside = (
        find_sustained(
            SMALL, 2.0, policies=["fcfs", "astraea"], workers=workers,
            on_progress=lambda stage, done, total: told.append((stage, done, total)),
        )
        for workers in (1, 2)
    )  # fmt: skip
    assert alone.policies == beside.policies
    assert told[-1] == ("policies", 2 * PROBES * 30, 2 * PROBES * 30)


def test_json_is_all_that_is_printed(capsys):
    arguments = ["simulate", "--workload", "calculator", "--jobs", "10", "--sustain", "2.0", "--policy", "fcfs,astraea"]
    assert run([*arguments, "--workers", "1", "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    assert report["slowdown_max"] == 2.0
    assert [set(row) for row in report["policies"]] == [
        {"policy", "rate_jobs_per_s", "load", "mean_slowdown", "is_highest_tried", "probes"}
    ] * 2


def test_the_table_sets_each_policy_against_fcfs(capsys):
    arguments = ["simulate", "--workload", "calculator", "--jobs", "10", "--sustain", "2", "--workers", "1"]
    assert run([*arguments, "--policy", "fcfs,srpt-oracle"]) == 0
    text = capsys.readouterr().out
    assert "highest rate with a mean slowdown of at most 2" in text
    assert "1.00" in next(line for line in text.splitlines() if "│ fcfs" in line)
    assert "srpt-oracle *" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--sustain", "1"], "above 1"),
        (["--sustain", "2", "--load", "0.5"], "name no load"),
        (["--sustain", "2", "--arrivals", "recorded"], "a rate of their own"),
        (["--sustain", "2", "--plot", "out.png"], "draws no plot"),
    ],
)
def test_mistakes_end_with_a_sentence_and_code_2(capsys, arguments, complaint):
    assert run(["simulate", "--workload", "calculator", "--jobs", "5", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_rate_is_a_thing_to_find():
    with pytest.raises(UsageError, match="name no load"):
        find_sustained(Scenario(workload="calculator", agents=2), 2.0, policies=["fcfs"])
