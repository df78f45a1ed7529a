"""The measurement runs batches of all kinds through a real engine, and copies that arrive."""

from __future__ import annotations

from random import Random

import pytest

from astraea.executor.measuring import _log_uniform, measure_batches, measure_copies, warm_up
from astraea.executor.model import load_model
from astraea.policy.limits import Limits

LIMITS = Limits(device_blocks=64, block_tokens=16, step_tokens_max=64, batch_turns_max=8)


@pytest.fixture(scope="module")
def toy():
    return load_model("toy")


def test_batches_of_many_kinds_are_measured(toy):
    batches = measure_batches(toy, LIMITS, context_tokens_max=256, seconds=3.0, seed=0)
    assert len(batches) > 30
    kinds = {
        (max(tokens for _, tokens in batch.chunks) > 1, min(tokens for _, tokens in batch.chunks) == 1)
        for batch in batches
    }
    assert {(False, True), (True, False), (True, True)} <= kinds, "prompts, decodes, and both in one batch"
    assert {len(batch.chunks) for batch in batches} >= {1, 4, 8}
    assert any(held and tokens > 1 for batch in batches for held, tokens in batch.chunks), "no prompt goes on"
    for batch in batches:
        assert sum(tokens for _, tokens in batch.chunks) <= 64
        assert batch.end_us > batch.begin_us
        assert all(held + tokens * batch.steps <= 256 for held, tokens in batch.chunks)


def test_copies_are_measured_over_the_pool(toy):
    speed = measure_copies(toy, LIMITS)
    assert speed.copied_bytes == 64 * 16 * 4 * 2 * 2 * 64 * 4  # tokens, layers, keys and values, heads, size, bytes
    assert 10**7 < speed.bytes_per_s < 10**12


def test_a_warm_up_leaves_the_model_as_it_was(toy):
    before = {name: weight.clone() for name, weight in toy.model.state_dict().items()}
    warm_up(toy)
    assert all((weight == before[name]).all() for name, weight in toy.model.state_dict().items())


def test_lengths_are_spread_over_their_range():
    dice = Random(0)
    drawn = [_log_uniform(dice, 2, 200) for _ in range(2_000)]
    assert (min(drawn), max(drawn)) == (2, 200)
    assert 0.4 < sum(length < 20 for length in drawn) / len(drawn) < 0.6
    assert _log_uniform(dice, 3, 3) == _log_uniform(dice, 3, 1) == 3
