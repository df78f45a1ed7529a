"""Simulation with faults: a seed is a plan, a plan is a run, and the core keeps its claims in all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from attrs import evolve

from astraea.cli.app import run
from astraea.errors import UsageError
from astraea.policy.limits import Limits
from astraea.rivals import make_policy, policy_names
from astraea.simulator.torture import verdict as verdict_module
from astraea.simulator.torture.estimates import MODES, MadEstimates
from astraea.simulator.torture.faults import TARGETS, Fault, FaultKind, Target
from astraea.simulator.torture.night import NightRequest, plans_of, torture
from astraea.simulator.torture.plan import draw_plan, plan_lines, rounds_of
from astraea.simulator.torture.run import rest_bound
from astraea.simulator.torture.shrinking import shrink
from astraea.simulator.torture.verdict import carry_out
from astraea.trace.check import check_trace

SMALL = 12
"""Rounds enough that every kind of fault strikes."""


def small_plans(policy="astraea"):
    """Rounds of few jobs, so that many of them take little time."""
    plans = (draw_plan(5, number, policy) for number in range(10_000))
    return [next(plan for plan in plans if 6 < len(plan.jobs) <= 60 and not plan.one_step) for _ in range(SMALL)]


def test_a_seed_and_a_round_are_a_plan():
    assert draw_plan(3, 2, "astraea") == draw_plan(3, 2, "astraea")
    assert draw_plan(3, 2, "astraea") != draw_plan(3, 1, "astraea")
    assert draw_plan(3, 2, "astraea").jobs == draw_plan(3, 2, "fcfs").jobs
    with pytest.raises(UsageError, match="at least 0"):
        draw_plan(-1, 0, "astraea")


def test_a_plan_reads_as_what_will_happen():
    plan = next(plan for number in range(99) if len((plan := draw_plan(3, number, "astraea")).faults) > 5)
    lines = plan_lines(plan)
    assert lines[0] == f"seed 3, round {plan.round}, policy astraea"
    assert f"bypass_max {plan.limits.bypass_max}" in lines[2]
    assert len(lines) == 6 + len(plan.faults)
    assert (
        str(Fault(1_500_000, FaultKind.BATCH_LOST, 7, None)) == "       1.500 s  batch-lost until the heal (choice 7)"
    )
    assert str(Fault(0, FaultKind.CLOCK_JUMPED, 1, 2_000)).endswith("clock-jumped for 0.002 s (choice 1)")
    assert str(Fault(0, FaultKind.TURN_FAILED, 1, 2_000)).endswith("turn-failed (choice 1)")


def test_the_rounds_of_a_seed_fill_its_hours():
    plans = list(rounds_of(0, "astraea", 600_000_000))
    assert [plan.round for plan in plans] == list(range(len(plans)))
    assert sum(plan.horizon_us for plan in plans) >= 600_000_000 > sum(plan.horizon_us for plan in plans[:-1])


def test_every_kind_of_fault_strikes_and_no_claim_is_broken():
    struck, reached = Counter(), Counter()
    for plan in small_plans():
        verdict = carry_out(plan)
        assert verdict.ok, f"round {plan.round}: {verdict.claim}: {verdict.sentence}"
        struck += verdict.faults
        reached += verdict.probes
        assert 0 < verdict.heal_share < 1
    assert all(struck[kind] for kind in FaultKind), struck
    for rare in ("Dispatch promoted", "Preempt growth", "SwapIn ranked", "kv quarantined", "late batch report"):
        assert reached[rare], rare


@pytest.mark.parametrize("policy", [name for name in policy_names() if name != "astraea"])
def test_other_policies_survive_it_too(policy):
    for plan in small_plans(policy)[:3]:
        verdict = carry_out(plan)
        assert verdict.ok, f"round {plan.round}: {verdict.claim}: {verdict.sentence}"


def test_a_round_is_the_same_round_each_time_and_however_often_one_looks():
    for plan in small_plans()[:3]:
        first, again = carry_out(plan), carry_out(plan)
        assert (first.digest, first.probes, first.simulated_us) == (again.digest, again.probes, again.simulated_us)
        assert carry_out(plan, look_every=1).digest == first.digest == carry_out(plan, look_every=0).digest


def test_a_round_is_the_same_round_under_another_hash_seed():
    code = (
        "from astraea.simulator.torture.plan import draw_plan\n"
        "from astraea.simulator.torture.verdict import carry_out\n"
        "print(carry_out(draw_plan(5, 2, 'astraea')).digest)"
    )
    digests = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        )
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_plan_that_breaks_nothing_is_not_shrunk():
    plan = small_plans()[0]
    assert shrink(plan).plan == plan


def test_faults_that_are_armed_have_a_target_and_the_others_a_moment():
    assert set(TARGETS) == set(FaultKind)
    assert TARGETS[FaultKind.COPY_LOST] is Target.COPY
    assert TARGETS[FaultKind.CLOCK_JUMPED] is Target.MOMENT


def test_mad_estimates_are_the_policys_own_until_they_go_mad():
    """In one round with adversarial sizes from the beginning, and in the same round without."""
    plan = evolve(draw_plan(5, 1, "astraea"), faults=())
    sane = carry_out(plan, look_every=1)
    for mode in range(len(MODES)):
        mad = carry_out(evolve(plan, faults=(Fault(0, FaultKind.ESTIMATES_MAD, mode, None),)), look_every=1)
        assert mad.ok, mad.sentence
        assert mad.digest != sane.digest, MODES[mode]
    limits = Limits(device_blocks=4)
    policy = MadEstimates(make_policy("astraea", limits), limits, 0)
    assert policy.name == "astraea+mad-estimates"
    assert policy.memory.headroom_blocks_max == 4
    assert policy.memory.headroom_blocks(3) == make_policy("astraea", limits).memory.headroom_blocks(3)


def test_the_bound_of_the_heal_grows_with_what_is_left():
    assert rest_bound(0, 0, 0) < rest_bound(1, 0, 0) < rest_bound(1, 5, 0) < rest_bound(1, 5, 1)


def test_a_night_adds_up_its_seeds(tmp_path):
    request = NightRequest(hours=0.2, seeds=2, first_seed=4, record=tmp_path)
    told = []
    night = torture(request, workers=1, on_progress=lambda *told_now: told.append(told_now))
    plans = plans_of(request)
    assert (night.seeds, night.rounds, night.findings) == (2, len(plans), ())
    assert night.simulated_us >= 720_000_000
    assert night.worst_bypass <= night.bypass_bound
    assert sum(night.faults.values()) <= sum(len(plan.faults) for plan in plans)
    assert told[-1] == ("torture", 12, 12)
    assert not list(tmp_path.iterdir())
    assert torture(request, workers=2).digest == night.digest


def test_the_command_prints_the_totals(capsys):
    assert run(["torture", "--hours-simulated", "0.02", "--seeds", "1", "--workers", "1", "--json"]) == 0
    night = json.loads(capsys.readouterr().out)
    for key in ("violations", "simulated_hours", "events", "decisions", "faults", "worst_bypass", "bypass_bound"):
        assert isinstance(night[key], int | float), key
    assert night["violations"] == 0
    assert night["simulated_hours"] >= 0.02
    assert night["faults"] == sum(night["faults_by_kind"].values())
    assert run(["torture", "--hours-simulated", "0.02", "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "0 violations" in text
    assert night["digest"] in text


def test_the_command_prints_plans_without_running_them(capsys):
    assert run(["torture", "--seed", "5", "--round", "1", "--show-plan"]) == 0
    assert capsys.readouterr().out.splitlines() == plan_lines(draw_plan(5, 1, "astraea"))
    assert run(["torture", "--seed", "5", "--round", "1", "--show-plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [plan_lines(draw_plan(5, 1, "astraea"))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hours-simulated", "0"], "number of hours"),
        (["--seeds", "0"], "one seed at least"),
        (["--seed", "-1"], "count from 0"),
        (["--policy", "astrea"], "did you mean 'astraea'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, sentence, capsys):
    assert run(["torture", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_the_trace_of_a_whole_round_has_its_end(monkeypatch):
    judged = []

    def keep(entries):
        judged.append(list(entries))
        return check_trace(judged[-1])

    monkeypatch.setattr(verdict_module, "check_trace", keep)
    assert carry_out(small_plans()[1]).ok
    assert check_trace(judged[0]).complete
