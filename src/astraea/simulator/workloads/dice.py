"""Seeded draws that come out alike on every Python version, process and platform.

Only :meth:`random.Random.random` is used of the standard generator, the one method whose sequence Python promises to
keep. Logarithm and exponential are computed here from the basic operations and the square root, which IEEE 754 rounds
exactly, because the C library's own differ in the last bit between platforms.
"""

from __future__ import annotations

import math
import random

from astraea.errors import UsageError

__all__ = ["Dice"]

_LN_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_EXP_LEAST = -700.0
# Enough terms for full precision where the two series are used: |ratio| <= 0.172 and |rest| <= 0.347.
_ARTANH_SERIES = tuple(1.0 / (2 * term + 1) for term in range(11, -1, -1))
_EXP_TERMS = tuple(range(15, 0, -1))


class Dice:
    """A stream of draws from one seed."""

    def __init__(self, seed: int) -> None:
        """Start the stream; :class:`UsageError` for a negative seed, which would repeat that of a positive one."""
        if seed < 0:
            raise UsageError(f"a seed must be at least 0, not {seed}")
        self._random = random.Random(seed)

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()

    def below(self, count: int) -> int:
        """Return a whole number in [0, count)."""
        return int(self.uniform() * count)

    def permutation(self, count: int) -> list[int]:
        """Return 0 .. count - 1 in random order (Fisher-Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def normal(self) -> float:
        """Return a standard normal (Marsaglia's polar method)."""
        while True:
            x, y = 2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0
            square = x * x + y * y
            if 0.0 < square < 1.0:
                return x * math.sqrt(-2.0 * _ln(square) / square)

    def exponential(self, mean: float) -> float:
        """Return an exponential of the given mean."""
        return -mean * _ln(1.0 - self.uniform())

    def gamma(self, mean: float, cv: float) -> float:
        """Return a gamma of the given mean and coefficient of variation (Marsaglia and Tsang, 2000)."""
        shape = 1.0 / (cv * cv)
        boost = 1.0
        if shape < 1.0:
            boost = _exp(_ln(1.0 - self.uniform()) / shape)
            shape += 1.0
        d = shape - 1.0 / 3.0
        c = 1.0 / math.sqrt(9.0 * d)
        while True:
            x = self.normal()
            v = 1.0 + c * x
            if v <= 0.0:
                continue
            v = v * v * v
            if _ln(1.0 - self.uniform()) < 0.5 * x * x + d * (1.0 - v + _ln(v)):
                return boost * d * v * mean * cv * cv

    def lognormal(self, mean: float, std: float) -> float:
        """Return a lognormal whose mean and standard deviation are those given."""
        ratio = std / mean
        variance = _ln(1.0 + ratio * ratio)
        return mean * _exp(math.sqrt(variance) * self.normal() - variance / 2.0)

    def lognormal_count(self, mean: float, std: float, least: int = 1, most: int | None = None) -> int:
        """Return a lognormal rounded to a whole number and clipped to [least, most]."""
        count = max(least, round(self.lognormal(mean, std)))
        return count if most is None else min(most, count)

    def normal_count(self, mean: float, std: float, least: int = 1) -> int:
        """Return a normal rounded to a whole number and clipped from below."""
        return max(least, round(mean + std * self.normal()))

    def geometric_count(self, mean: float, most: int) -> int:
        """Return a number of trials, 1 or more, of the given mean, clipped to ``most``."""
        trials = 1 + int(_ln(1.0 - self.uniform()) / _ln(1.0 - 1.0 / mean))
        return min(most, trials)

    def shares(self, total: int, weights: list[float]) -> list[int]:
        """Return ``total`` split into one whole number of at least 1 for each weight, in proportion to the weights.

        ``total`` is at least the number of weights.
        """
        spare = total - len(weights)
        whole = sum(weights)
        parts: list[int] = []
        passed, given = 0.0, 0
        for weight in weights:
            passed += weight
            upto = min(spare, int(spare * (passed / whole)))
            parts.append(1 + upto - given)
            given = upto
        parts[-1] += spare - given
        return parts


def _ln(x: float) -> float:
    """Return the natural logarithm of a positive number: 2 artanh((m - 1) / (m + 1)) + exponent ln 2."""
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = 0.0
    for coefficient in _ARTANH_SERIES:
        series = series * square + coefficient
    return 2.0 * ratio * series + exponent * _LN_2


def _exp(x: float) -> float:
    """Return e to the power x: 2^k times the power series of the rest; 0 far below."""
    if x < _EXP_LEAST:
        return 0.0
    k = math.floor(x / _LN_2 + 0.5)
    rest = x - k * _LN_2
    series = 1.0
    for term in _EXP_TERMS:
        series = 1.0 + series * rest / term
    return math.ldexp(series, k)
