"""The kit on schedulers that keep what they should, and what it says where it cannot judge."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from mutant_schedulers import ForgetsOne

from astraea import Limits, UsageError
from astraea.rivals import make_policy
from astraea.testing import CLAIMS, CoreAdapter, Profile, View, conformance_machine, examine, walk
from astraea.testing.adapter import Future, Request
from astraea.testing.bypasses import Bypasses
from examples.conformance.plain_fcfs import PlainFcfs

SHORT = Profile(name="short", streams=30, moves_max=12, shrinks=60, walks=3, comers=12)
LIMITS = Limits(device_blocks=40, host_blocks=20, batch_turns_max=4, bypass_max=6, step_tokens_max=256)

TestPlainFcfs = conformance_machine(PlainFcfs, max_examples=30).TestCase


def own():
    return CoreAdapter(LIMITS)


TestOwnCore = conformance_machine(own, max_examples=20).TestCase


@pytest.mark.parametrize("factory", [PlainFcfs, own], ids=["plain_fcfs", "own"])
def test_a_sound_scheduler_keeps_every_claim(factory):
    report = examine(factory)
    print(report)
    assert set(report.kept) == set(CLAIMS)
    if factory is own:  # it is passed as often as its bound, and not more
        assert "passed 6 times at most; the bound is 6" in report["LIVE-1"].sentence


@pytest.mark.parametrize("policy", ["hrrn-turn", "job-fcfs", "mlfq"])
def test_an_unguarded_policy_gives_up_live_1_at_most(policy):
    def unguarded():
        return CoreAdapter(LIMITS, make_policy(policy, LIMITS))

    assert set(examine(unguarded, profile=SHORT).broken) <= {"LIVE-1"}


class NoPool(PlainFcfs):
    pool_blocks = None
    block_tokens = 8

    def need(self, request):
        return 0

    def submit(self, request, now_us):
        self.queue.append(request)
        return True

    def __init__(self):
        super().__init__()
        self.free = 0

    def snapshot(self):
        view = super().snapshot()
        return View(view.waiting, view.running)


class NoCounts(PlainFcfs):
    def snapshot(self):
        view = super().snapshot()
        return View(view.waiting, view.running)


class HugeBound(PlainFcfs):
    bypass_bound = 8_192


@pytest.mark.parametrize(
    ("factory", "claim", "why"),
    [
        (NoPool, "INV-1", "no pool"),
        (NoPool, "INV-5", "no pool"),
        (NoCounts, "INV-1", "no view told"),
        (HugeBound, "LIVE-1", "bound of 8192"),
    ],
)
def test_what_cannot_be_judged_is_said_with_the_reason(factory, claim, why):
    report = examine(factory, claims=[claim, "INV-2"], profile=SHORT)
    assert why in report.not_judged[claim].sentence
    assert set(report.kept) == {"INV-2"}


def test_that_another_process_could_not_be_asked_is_said():
    assert "another cannot import" in examine(lambda: PlainFcfs(), claims=["INV-7"]).kept["INV-7"].sentence  # noqa: PLW0108 - it has no name
    assert "in this process only" not in examine(PlainFcfs, claims=["INV-7"]).kept["INV-7"].sentence


def test_a_claim_that_nobody_knows_is_a_mistake_of_the_user():
    with pytest.raises(UsageError, match="no claim 'INV-99'"):
        examine(PlainFcfs, claims=["INV-99"])
    with pytest.raises(UsageError, match="no claim 'INV-99'"):
        conformance_machine(PlainFcfs, claims=["INV-99"])


def test_a_walk_repeats_itself_and_finds_what_is_wrong():
    assert walk(own, 17).calls == walk(own, 17).calls
    assert any("LIVE-2" in walk(ForgetsOne, seed).watch.breaches for seed in range(10))
    assert not walk(PlainFcfs, 1).watch.breaches


def test_an_examination_repeats_itself():
    assert str(examine(ForgetsOne, profile=SHORT)) == str(examine(ForgetsOne, profile=SHORT))


def test_a_report_is_plain_values_too():
    report = examine(ForgetsOne, claims=["LIVE-2", "INV-1"], profile=SHORT, name="one is forgotten")
    told = json.loads(json.dumps(report.to_json()))
    assert told["name"] == "one is forgotten"
    assert [(f["claim"], f["verdict"]) for f in told["findings"]] == [("INV-1", "kept"), ("LIVE-2", "broken")]
    assert told["findings"][1]["calls"][-1] == "step() -> nothing (16 times)"


def request(name, job):
    return Request(name, job, 0, 1, 0, 1, Future(1))


@pytest.mark.parametrize(("knows_jobs", "worst"), [(False, (2, "b0")), (True, (3, "b"))])
def test_bypasses_are_counted_by_request_or_by_job(knows_jobs, worst):
    bypasses = Bypasses(knows_jobs=knows_jobs)
    a0, b0, c0, d0 = (request(f"{job}0", job) for job in "abcd")
    for each in (a0, b0, c0, d0):
        bypasses.wait(each)
    for each in (a0, c0, d0, b0):  # c and d pass b
        bypasses.start(each)
    b1, c1 = request("b1", "b"), request("c1", "c")
    bypasses.wait(c1)
    bypasses.wait(b1)
    bypasses.start(c1)  # before b1 came, but b is the older job
    assert bypasses.worst == worst


def test_astraea_needs_no_hypothesis_and_the_kit_says_that_it_does():
    code = "import sys; sys.modules['hypothesis'] = None\nimport astraea\nimport astraea.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("which is not installed: pip install 'astraea[testing]'")
