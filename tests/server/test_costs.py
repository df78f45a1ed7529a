"""What the scheduler is told of the engine's costs: measured, from a profile, or assumed."""

from __future__ import annotations

import time

import pytest

from astraea.errors import UsageError
from astraea.executor.model import load_model
from astraea.policy.limits import EngineCosts
from astraea.server.costs import measure_costs
from astraea.server.settings import Settings
from astraea.server.sizing import limits_of
from astraea.simulator.profiles import load_engine, to_toml

SMALL = {"model": "toy", "max_model_len": 512, "kv_tokens": 1_024}


def test_measured_costs_are_of_the_order_of_a_turn_that_is_timed():
    loaded = load_model("toy")
    began_s = time.monotonic()
    costs = measure_costs(loaded, block_tokens=16, copies=True)
    spent_ns = 1e9 * (time.monotonic() - began_s)
    assert costs.step_ns > costs.prefill_ns_per_token > 1_000
    # Five turns of six steps, three of them of 256 tokens, are a part of what was done.
    assert 0.01 * spent_ns < 5 * 6 * costs.step_ns + 3 * 256 * costs.prefill_ns_per_token < 2 * spent_ns
    assert 100 < costs.swap_ns_per_token < 100_000


def test_a_profile_is_taken_at_its_word_and_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("astraea.server.sizing.measure_costs", None)
    profile = load_engine("llama-8b-h100")
    file = tmp_path / "engine.toml"
    file.write_text(to_toml(profile), encoding="utf-8")
    costs = limits_of(Settings(**SMALL, engine=file), load_model("toy")).costs
    assert (costs.step_ns, costs.prefill_ns_per_token) == (profile.step_ns, profile.prefill_ns_per_token)
    assert limits_of(Settings(**SMALL, measure=False), load_model("toy")).costs == EngineCosts()
    with pytest.raises(UsageError):
        limits_of(Settings(**SMALL, engine=tmp_path / "none.toml"), load_model("toy"))
