"""Work in small keeps its shape: what was shared stays shared, and nothing vanishes."""

from __future__ import annotations

import pytest
from attrs import evolve

from astraea.errors import UsageError
from astraea.simulator.agents import stages_of
from astraea.simulator.generators import generate, workload_names
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import load_engine
from astraea.simulator.scaling import scaled
from astraea.simulator.scenario import JobSource, Scenario


def job(*turns):
    return JobSpec("j", tuple(TurnSpec(new, context, output, "t", 1_000) for new, context, output in turns))


@pytest.mark.parametrize("workload", workload_names())
def test_a_factor_of_one_changes_nothing(workload):
    for one in generate(workload, 20, 0):
        assert scaled(one, 1.0, 1.0) == one


@pytest.mark.parametrize("workload", workload_names())
@pytest.mark.parametrize("lengths", [0.01, 0.05, 0.3])
def test_a_prompt_never_shares_more_than_there_was(workload, lengths):
    for one in generate(workload, 20, 0):
        small = scaled(one, lengths, 0.5)
        history = was = 0
        for stage, before in zip(stages_of(small.turns), stages_of(one.turns), strict=True):
            if history:
                assert stage[0].reusable_tokens <= history
                if before[0].reusable_tokens == was:
                    assert stage[0].reusable_tokens == history
            history = stage[0].context_tokens + stage[0].output_tokens
            was = before[0].context_tokens + before[0].output_tokens
        assert all(turn.new_prompt_tokens >= 1 and turn.output_tokens >= 1 for turn in small.turns)
        assert small.shared_prefix_tokens <= small.turns[0].context_tokens
        assert small.peak_tokens == pytest.approx(lengths * one.peak_tokens, rel=0.1, abs=2 * len(one.turns))


def test_lengths_and_waits_are_multiplied():
    small = scaled(job((100, 100, 40), (60, 200, 20)), 0.1, 2.0)
    assert [(turn.new_prompt_tokens, turn.context_tokens, turn.output_tokens) for turn in small.turns] == [
        (10, 10, 4),
        (6, 20, 2),
    ]
    assert [turn.tool_wait_us for turn in small.turns] == [2_000, 2_000]


def test_an_edited_history_stays_edited():
    small = scaled(job((100, 100, 40), (60, 130, 20)), 0.1, 1.0)
    assert small.turns[1].reusable_tokens == 7


def test_a_prefix_that_vanishes_is_none():
    one = evolve(job((100, 100, 40)), shared_prefix_id="p", shared_prefix_tokens=50)
    assert (scaled(one, 0.1, 1.0).shared_prefix_id, scaled(one, 0.1, 1.0).shared_prefix_tokens) == ("p", 5)
    assert (scaled(one, 0.01, 1.0).shared_prefix_id, scaled(one, 0.01, 1.0).shared_prefix_tokens) == ("", 0)


def test_a_scenario_scales_before_it_asks_what_fits():
    engine = evolve(load_engine("gptj-6b-a100"), pool_tokens=4_000, context_tokens_max=4_000)
    asked = Scenario(workload="swebench", jobs=20, length_scale=0.02, time_scale=0.1, tool_cap_s=5.0)
    jobs = JobSource(asked, engine, []).draw(0)
    assert len(jobs) == 20
    assert max(turn.tool_wait_us for one in jobs for turn in one.turns) == 500_000
    with pytest.raises(UsageError, match="none of the 20 jobs is left"):
        JobSource(evolve(asked, length_scale=1.0), engine, []).draw(0)


@pytest.mark.parametrize("scale", ["length_scale", "time_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_above_zero(scale, value):
    with pytest.raises(UsageError, match="must be a number above 0"):
        Scenario(workload="swebench", **{scale: value})
