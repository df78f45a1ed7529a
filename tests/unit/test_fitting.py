"""Finding the constants of a step-time model: known ones come back, whatever a few bad measurements say."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from astraea.cli.fitting import fit_profile, predicted_us, step_error
from astraea.errors import UsageError
from astraea.simulator.profiles import load_engine
from astraea.trace.steps import RanBatch

TRUE = evolve(
    load_engine("llama-8b-h100"),
    step_ns=5_000_000,
    piece_ns=900_000,
    prefill_ns_per_token=220_000,
    read_ps_per_context_token=3_900_000,
    attention_ps_per_token_pair=190_000,
)
CONSTANTS = ("step_ns", "piece_ns", "prefill_ns_per_token", "read_ps_per_context_token", "attention_ps_per_token_pair")
UNKNOWN = evolve(TRUE, **{name: value for value, name in enumerate(CONSTANTS, start=1)})


def timed(profile, chunks, steps, factor=1.0):
    batch = RanBatch(tuple(chunks), steps, 0, 0)
    return evolve(batch, end_us=max(1, round(predicted_us(profile, batch) * factor)))


def measured(profile, count, seed, *, noise=0.0, outliers=0.0):
    """Batches of decodes, prompts and both, with times of the profile, some of them far too long."""
    dice = random.Random(seed)
    batches = []
    for _ in range(count):
        chunks = [(dice.randrange(2_000), 1) for _ in range(dice.randrange(17))]
        chunks += [(dice.randrange(1_000), dice.randrange(2, 200)) for _ in range(dice.randrange(3))]
        factor = 1 + dice.uniform(-noise, noise)
        if dice.random() < outliers:
            factor *= dice.uniform(2, 8)
        batches.append(timed(profile, chunks or [(0, 1)], dice.randrange(1, 20), factor))
    return batches


def constants(profile):
    return [getattr(profile, name) for name in CONSTANTS]


def test_constants_come_back_from_exact_times():
    assert constants(fit_profile(UNKNOWN, measured(TRUE, 60, 0))) == pytest.approx(constants(TRUE), rel=0.001)


def test_a_tenth_of_bad_measurements_moves_them_little():
    batches = measured(TRUE, 400, 1, noise=0.03, outliers=0.1)
    profile = fit_profile(UNKNOWN, batches)
    assert constants(profile) == pytest.approx(constants(TRUE), rel=0.15)
    assert step_error(profile, measured(TRUE, 100, 2)).median < 0.02


def test_nothing_becomes_negative():
    free = evolve(TRUE, read_ps_per_context_token=0, attention_ps_per_token_pair=0)
    profile = fit_profile(UNKNOWN, measured(free, 200, 3, noise=0.1))
    assert min(constants(profile)) >= 0
    assert profile.step_ns == pytest.approx(free.step_ns, rel=0.15)


def test_the_rest_of_the_profile_stays():
    profile = fit_profile(UNKNOWN, measured(TRUE, 20, 4))
    assert evolve(profile, **dict(zip(CONSTANTS, constants(TRUE), strict=True))) == TRUE


def test_errors_are_counted_by_batch():
    batches = [timed(TRUE, [(100, 1)], 4, factor) for factor in (1.0, 1.25, 0.5)]
    error = step_error(TRUE, batches)
    assert (error.batches, error.median) == (3, pytest.approx(0.2, abs=0.001))
    assert error.p90 == pytest.approx(1.0, abs=0.001)
    assert error.total == pytest.approx(3 / 2.75 - 1, abs=0.001)


def test_too_little_is_told():
    with pytest.raises(UsageError, match="give the measurement more time"):
        fit_profile(UNKNOWN, measured(TRUE, 3, 5))
    with pytest.raises(UsageError, match="no batch was measured"):
        step_error(TRUE, [])
