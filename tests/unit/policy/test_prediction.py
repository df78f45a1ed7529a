"""Estimates from completed work: nested means, tool waits, remaining service, by hand."""

from __future__ import annotations

from types import SimpleNamespace

from attrs import evolve

from astraea import EngineCosts, Limits, Tuning
from astraea.policy import prediction
from astraea.policy.astraea import service_us
from astraea.policy.fixedpoint import exp2, half_octave, log2
from astraea.policy.prediction import NestedMean, Predictor, WaitHistory
from astraea.policy.state import TurnRecord

COSTS = EngineCosts(
    step_ns=10_000, prefill_ns_per_token=1_000, read_ps_per_context_token=10_000, attention_ps_per_token_pair=0,
    swap_ns_per_token=10,
)  # fmt: skip
LIMITS = Limits(device_blocks=100, block_tokens=10, costs=COSTS, tuning=Tuning(shrinkage=5))


def test_the_prior_stands_until_something_is_known():
    mean = NestedMean(shrinkage=5)
    assert mean.estimate(["all", "fine"], prior=70) == 70
    mean.add(["all", "fine"], 10)
    assert mean.estimate(["all", "other"], prior=70) == 10


def test_a_fine_cell_is_drawn_from_the_coarse_one_by_its_samples():
    mean = NestedMean(shrinkage=5)
    for _ in range(9):
        mean.add(["all", "common"], 100)
    mean.add(["all", "rare"], 1_000)
    coarse = (9 * 100 + 1_000) // 10
    assert mean.estimate(["all", "rare"], 0) == (1_000 + 5 * coarse) // (1 + 5)
    assert mean.estimate(["all", "common"], 0) == (900 + 5 * coarse) // (9 + 5)


def test_cells_are_bounded(monkeypatch):
    monkeypatch.setattr(prediction, "_CELLS_MAX", 2)
    mean = NestedMean(shrinkage=5)
    mean.add(["all", "one", "too many"], 10)
    mean.add(["all", "two"], 20)
    assert mean.estimate(["all"], 0) == 15
    assert mean.estimate(["all", "two"], 0) == 15


def test_the_rest_of_a_wait_grows_with_the_time_it_lasted():
    history = WaitHistory()
    for wait_us in (1, 1, 1_000, 1_000):
        history.add(wait_us)
    assert history.mean_us() == 500
    assert history.longest_us == 1_000
    rests = dict(history.rests_us())
    assert rests[0] == (2 + 2_000) // 4
    (late,) = (elapsed for elapsed in rests if elapsed > 100)
    assert late <= 1_000
    assert rests[late] == 1_000 - late


def test_a_wait_of_no_time_at_all_is_a_wait():
    history = WaitHistory()
    history.add(0)
    assert history.rests_us() == [(0, 0)]


def test_a_bucket_starts_at_its_least_wait():
    for wait_us in [*range(1, 200), 10**6, 10**6 + 1, 2**40]:
        history = WaitHistory()
        history.add(wait_us)
        bucket = half_octave(wait_us + 1)
        start_us = history.rests_us()[-1][0]
        assert start_us <= wait_us
        assert half_octave(start_us + 1) == bucket
        assert not start_us or half_octave(start_us) < bucket


def test_before_any_wait_the_prior_speaks_and_a_new_tool_is_like_all():
    predictor = Predictor(LIMITS)
    assert predictor.waits("grep") is None
    assert predictor.tool_wait_us("grep") == LIMITS.tuning.prior_tool_wait_us
    predictor.learn_wait("grep", 100)
    predictor.learn_wait("shell", 300)
    assert predictor.tool_wait_us("grep") == 100
    assert predictor.tool_wait_us("never seen") == 200


def test_tools_are_bounded(monkeypatch):
    monkeypatch.setattr(prediction, "_TOOLS_MAX", 1)
    predictor = Predictor(LIMITS)
    predictor.learn_wait("grep", 100)
    predictor.learn_wait("shell", 300)
    assert predictor.tool_wait_us("shell") == 200


def test_output_and_growth_start_with_their_prior_and_follow_what_ended():
    predictor = Predictor(LIMITS)
    assert predictor.output_tokens(0, "") == predictor.growth_tokens() == LIMITS.tuning.prior_output_tokens
    predictor.learn_turn(0, "", output_tokens=40, grown_tokens=0)
    predictor.learn_turn(0, "", output_tokens=60, grown_tokens=120)
    assert predictor.output_tokens(0, "") == 50
    assert predictor.growth_tokens() == 60


def test_remaining_service_before_any_job_ended_is_the_prior_of_the_costs():
    predictor = Predictor(LIMITS)
    tuning = LIMITS.tuning
    service_ns = 1_000 * tuning.prior_remaining_tokens
    decode_ns = (1_000 + 10_000) * tuning.prior_output_tokens
    assert predictor.remaining_us(0, 0, 0, 500, "") == (service_ns + 500 * decode_ns // 1_000) // 1_000


def test_remaining_service_of_an_ended_job_by_hand():
    """Two turns: 100 tokens of prompt and 10 of output, then 20 new tokens (context 130) and 5 of output."""
    predictor = Predictor(LIMITS)
    records = [TurnRecord(0, 0, 100, 100, 10, 0, ""), TurnRecord(1, 0, 130, 20, 5, 900, "grep")]
    # Decode of the second: 5 steps of 1,000 ns and 130 tokens read at 10 ns; each output token occupies the memory for
    # a step as well (11,000 ns): 130 * 55,000 / 1,000 pool tokens.
    last_own = 5 * (1_000 + 1_300)
    last = (last_own + 130 * 55_000 // 1_000) // 1_000
    # The first: its own decode, the second's prompt and decode, and the memory-time of both.
    first_own = 10 * (1_000 + 1_000)
    later = 20 * 1_000 + last_own
    memory = (100 * 110_000 + 130 * (20_000 + 55_000)) // 1_000
    first = (first_own + later + memory) // 1_000
    predictor.learn_job(records)
    everything = (log2(max(last, 100)) + log2(max(first, 100))) // 2
    assert predictor.remaining_us(40, 1, 0, 10_000, "") == exp2(everything)


def test_a_finer_cell_moves_the_estimate_towards_its_own_jobs():
    predictor = Predictor(LIMITS)
    small, large = TurnRecord(0, 0, 100, 100, 1, 0, ""), TurnRecord(0, 1, 900, 900, 400, 0, "")
    for _ in range(20):
        predictor.learn_job([small])
        predictor.learn_job([large])
    assert predictor.remaining_us(0, 0, 0, 100, "") < predictor.remaining_us(0, 1, 0, 900, "")


def test_what_is_read_counts_in_the_remaining_service():
    cheap = evolve(LIMITS, costs=evolve(COSTS, read_ps_per_context_token=0))
    record = TurnRecord(0, 0, 900, 900, 50, 0, "")
    estimates = []
    for limits in (cheap, LIMITS):
        predictor = Predictor(limits)
        predictor.learn_job([record])
        estimates.append(predictor.remaining_us(0, 0, 0, 900, ""))
    assert estimates[1] > estimates[0]


def test_who_has_been_given_much_is_expected_to_need_what_such_jobs_needed():
    predictor = Predictor(LIMITS)
    for _ in range(20):
        predictor.learn_job([TurnRecord(0, 0, 100, 100, 1, 0, "")])
        predictor.learn_job([TurnRecord(0, 0, 100, 100, 400, 5_000_000, "")])
    assert predictor.remaining_us(0, 0, 0, 100, "") < predictor.remaining_us(0, 0, 5_000_000, 100, "")
    assert predictor.remaining_us(7, 0, 5_500_000, 900, "new") > predictor.remaining_us(7, 0, 700, 900, "new")


def test_the_service_of_an_ended_turn_by_hand():
    """20 new tokens, 5 sampled at a context of 130: prefill, decode with reading, and both over the pool's 1,000."""
    turn = SimpleNamespace(prompt_tokens=130, new_tokens=20, sampled=5)
    own_ns = 20 * 1_000 + 5 * (1_000 + 130 * 10)
    memory_ns = 130 * (20 * 1_000 + 5 * (1_000 + 10_000)) // 1_000
    assert service_us(LIMITS, turn) == (own_ns + memory_ns) // 1_000
