"""Parts of Astraea taken out, disturbed or set otherwise: each does what its name says, and the runs differ for it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from astraea.policy.astraea import LearningPolicy
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.state import TurnRecord
from astraea.simulator.arrivals import poisson
from astraea.simulator.driver import Simulation
from astraea.simulator.engine import limits_for
from astraea.simulator.generators import generate
from astraea.simulator.profiles import load_engine
from evaluation.predictors import Folded, Inverted, Noisy, Untaught, entry_of
from evaluation.reshaping import with_tail
from evaluation.statistics import geometric_mean, interval_of_p99_ratio, jain_index
from evaluation.variants import ABLATIONS, VARIANTS, make

LIMITS = Limits(device_blocks=1_000)
PROFILE = load_engine("llama-8b-h100")


@pytest.fixture(scope="module")
def jobs():
    return poisson([*generate("bfcl", 16, 0), *generate("swebench", 16, 0)], 0.3, 1)


def run(jobs, name, *, host_ratio=0.0):
    policy, limits = make(name, limits_for(PROFILE, host_ratio))
    simulation = Simulation(jobs, PROFILE, policy, limits)
    simulation.run(None, None)
    return policy, simulation.result()


def job_of(turns, outputs):
    """Return the records of a job that ended, as a predictor learns from them."""
    names = TurnRecord.__annotations__
    values = {"compute_class": 0, "context_tokens": 100, "new_tokens": 100, "output_tokens": outputs, "tool": ""}
    return [
        TurnRecord(**{name: index if name == "index" else values.get(name, 0) for name in names})
        for index in range(turns)
    ]


def ask(predictor, index=0):
    """Ask for the remaining service of a turn, whatever the predictor wants to know beside its index."""
    own = getattr(predictor, "_own", predictor)
    own = own._folds[0] if isinstance(own, Folded) else own  # noqa: SLF001
    names = own.remaining_us.__annotations__
    values = {"index": index, "compute_class": 0, "context_tokens": 100, "tool": ""}
    return predictor.remaining_us(*(values.get(name, 0) for name in names if name != "return"))


def test_every_variant_serves_all_jobs_and_all_but_the_bounds_decide_otherwise(jobs):
    digests = {name: run(jobs, name, host_ratio=0.3)[1].digest for name in ["astraea", *VARIANTS]}
    own = digests.pop("astraea")
    loose = {name for name in digests if name.startswith("astraea-k-")} | {"astraea-no-guard"}
    alike = {name for name, digest in digests.items() if digest == own}
    # In so short a run nobody is passed often enough for a loose bound to matter.
    assert alike <= loose


def test_a_bound_is_kept_and_without_the_guard_there_is_none(jobs):
    _, bounded = run(jobs, "astraea-k-64")
    assert bounded.worst_bypass <= bounded.bypass_bound == 64
    assert run(jobs, "astraea-no-guard")[1].bypass_bound is None


def test_without_swap_nothing_is_copied_though_a_host_pool_is_there(jobs):
    assert run(jobs, "astraea", host_ratio=4.0)[1].swapped_tokens > 0
    assert run(jobs, "astraea-no-swap", host_ratio=4.0)[1].swapped_tokens == 0


def test_ablations_take_one_thing_out_each():
    limits = limits_for(PROFILE)
    assert make("astraea-no-keeping", limits)[1].tuning.keep_tenths == 0
    assert make("astraea-no-headroom", limits)[0].memory.headroom_blocks(100) == 0
    assert make("astraea-no-resume", limits)[1].tuning.resume_permille == 0
    policy, same = make("astraea-no-protection", limits)
    assert same == limits
    assert policy.memory.may_evict_protected(None, None, None, 0, ranks_before=False, lossless=False)
    assert not LearningPolicy(limits).memory.may_evict_protected(
        None, None, None, 0, ranks_before=False, lossless=False
    )


def test_without_ageing_the_wait_plays_no_part(jobs):
    policy, _ = run(jobs[:4], "astraea-no-ageing")

    class Job:
        arrival = 1
        waiting_turns = 0
        wait_us = 0

        def wait_at(self, now_us):
            return now_us

    early, late = (policy.queue.key(Job(), 7, 1, now_us) for now_us in (0, 10**9))
    assert early == late


def levels(jobs, name):
    """Return the queue of a job after each of its turns, over a whole run."""
    policy, limits = make(name, limits_for(PROFILE))
    seen = []
    inner = policy.turn_ended

    def watched(turn, tool, *, to_tool):
        inner(turn, tool, to_tool=to_tool)
        seen.append((turn.job.job_id, turn.index, turn.job.level))

    policy.turn_ended = watched
    Simulation(jobs, PROFILE, policy, limits).run(None, None)
    return seen


def test_the_control_keeps_how_frequent_classes_are_and_forgets_whose_they_are(jobs):
    own, shuffled = ({(job, turn): level for job, turn, level in levels(jobs, name)} for name in (
        "astraea", "astraea-shuffled-class"))  # fmt: skip
    assert own.keys() == shuffled.keys()
    low, other = (np.mean([level >= 3 for level in found.values()]) for found in (own, shuffled))
    assert abs(low - other) < 0.2
    keys = sorted(own)
    assert abs(np.corrcoef([own[key] for key in keys], [shuffled[key] for key in keys])[0, 1]) < 0.25
    assert {level for _, _, level in levels(jobs, "astraea-no-class")} == {0}


def test_noise_is_one_factor_a_job_of_the_size_it_is_named_for():
    logs = []
    predictor = Noisy(LIMITS, 4.0)
    for number in range(400):
        predictor.about(f"job-{number}")
        first, second = ask(predictor), ask(predictor)
        assert first == second
        logs.append(math.log(first / ask(Predictor(LIMITS))) / math.log(4))
    assert abs(np.mean(logs)) < 0.15
    assert abs(np.std(logs) - 1) < 0.1


def test_the_adversary_turns_the_order_of_jobs_round():
    predictor = Inverted(LIMITS)
    for _ in range(20):
        predictor.learn_job(job_of(turns=12, outputs=200))
    honest = [ask(predictor._own, index) for index in (0, 11)]  # noqa: SLF001
    assert honest[0] > honest[1]
    for _ in range(3):
        turned = [ask(predictor, index) for index in (0, 11)]
    assert turned[0] < turned[1]


def test_the_untaught_predictor_says_on_the_last_day_what_it_said_on_the_first():
    predictor = Untaught(LIMITS)
    before = ask(predictor)
    for _ in range(20):
        predictor.learn_job(job_of(turns=12, outputs=900))
    assert ask(predictor) == before != ask(predictor._own)  # noqa: SLF001
    predictor.learn_wait("tool", 5_000)
    assert predictor.tool_wait_us("tool") == 5_000, "what is not taken out is as ever"


def test_a_fold_learns_from_every_entry_but_its_own():
    predictor, plain = Folded(LIMITS), Predictor(LIMITS)
    other = next(f"other-{n}" for n in range(99) if _fold(predictor, f"other-{n}") != _fold(predictor, "entry"))
    predictor.about("entry#3")
    fresh = ask(predictor)
    for _ in range(20):
        predictor.about("entry#7")
        predictor.learn_job(job_of(turns=12, outputs=900))
        plain.learn_job(job_of(turns=12, outputs=900))
    predictor.about("entry#8")
    assert ask(predictor) == fresh, "it knew its own entry"
    predictor.about(other)
    assert ask(predictor) == ask(plain) != fresh


def _fold(predictor, job_id):
    predictor.about(job_id)
    return predictor._fold  # noqa: SLF001


@pytest.mark.parametrize(("job_id", "entry"), [("a/r1#12", "a/r1"), ("a#b#3", "a#b"), ("plain", "plain")])
def test_a_draw_is_named_after_its_entry(job_id, entry):
    assert entry_of(job_id) == entry


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_tail_keeps_the_mean_wait_and_waits_of_nothing(exponent):
    plain = generate("infercept-mix", 60, 0)
    shaped = with_tail(plain, exponent)
    before, after = ([turn.tool_wait_us for job in jobs for turn in job.turns] for jobs in (plain, shaped))
    assert sum(after) == pytest.approx(sum(before), rel=1e-3)
    assert [not wait for wait in before] == [not wait for wait in after]
    spread = np.std([wait for wait in after if wait]) - np.std([wait for wait in before if wait])
    assert (spread > 0) == (exponent > 1)


def test_statistics_by_hand():
    assert geometric_mean([1.0, 4.0]) == 2.0
    assert jain_index([2.0, 2.0, 2.0]) == 1.0
    assert jain_index([1.0, 0.0, 0.0, 0.0]) == 0.25


def test_the_interval_of_the_tail_holds_the_ratio_and_is_a_point_where_the_two_are_in_proportion():
    random = np.random.default_rng(5)
    own = [list(random.exponential(1.0, 500)) for _ in range(3)]
    low, high = interval_of_p99_ratio(own, [[2 * value for value in run] for run in own])
    assert (low, high) == (0.5, 0.5)
    other = [list(random.exponential(1.0, 500)) for _ in range(3)]
    low, high = interval_of_p99_ratio(own, other)
    assert low < 1 < high
    assert high / low < 2


def test_every_ablation_says_what_it_is_without():
    assert len({variant.what for variant in VARIANTS.values()}) == len(VARIANTS)
    assert set(ABLATIONS) < set(VARIANTS)
