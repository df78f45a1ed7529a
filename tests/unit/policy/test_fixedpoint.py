"""Integer logarithms, against floats that are good enough to judge them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from astraea.policy.fixedpoint import LOG_ONE, exp2, half_octave, log2


def test_powers_of_two_are_exact():
    for octave in range(64):
        assert log2(1 << octave) == octave * LOG_ONE
        assert exp2(octave * LOG_ONE) == 1 << octave


@given(st.integers(1, 1 << 60))
def test_log2_is_within_a_hundred_thousandth_of_the_truth(value):
    assert abs(log2(value) / LOG_ONE - math.log2(value)) < 4e-5


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40))
def test_log2_does_not_fall(one, other):
    low, high = sorted((one, other))
    assert log2(low) <= log2(high)


@given(st.integers(0, 50 * LOG_ONE))
def test_exp2_is_the_power_rounded_down(log_value):
    truth = 2 ** (log_value / LOG_ONE)
    assert truth * (1 - 1e-5) - 1 <= exp2(log_value) <= truth * (1 + 1e-5)


@given(st.integers(1, 1 << 40))
def test_exp2_takes_log2_back(value):
    assert abs(exp2(log2(value)) - value) <= 1 + value // 20_000


@given(st.integers(1, 1 << 60))
def test_half_octave_is_the_exact_floor(value):
    bucket = half_octave(value)
    assert 2**bucket <= value**2 < 2 ** (bucket + 1)
