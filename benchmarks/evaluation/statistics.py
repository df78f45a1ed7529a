"""The few statistics of the page: geometric means, Jain's fairness, and a bootstrap of the tail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["geometric_mean", "interval_of_p99_ratio", "jain_index"]

_RESAMPLES = 1_000
_CHUNK = 100
"""Resamples drawn at once, so that memory stays small."""


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def jain_index(values: Sequence[float]) -> float:
    """Return ``(sum x)^2 / (n sum x^2)``: 1 where all fare alike, ``1/n`` where one bears everything."""
    return sum(values) ** 2 / (len(values) * math.fsum(value * value for value in values))


def interval_of_p99_ratio(
    own: Sequence[Sequence[float]], other: Sequence[Sequence[float]], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of ``p99(own) / p99(other)``, mean over the runs.

    A run is one seed's values by job, the same jobs in the same order on both sides. Each resample draws jobs of a run
    with replacement, the same for both. Jobs of a run are not independent (they queue for the same engine), so the
    interval is narrower than it would be over further runs.
    """
    random = np.random.default_rng(seed)
    ratios = np.zeros(_RESAMPLES)
    for mine, its in zip(own, other, strict=True):
        pair = np.asarray([mine, its])
        count = pair.shape[1]
        rank = math.ceil(0.99 * count) - 1
        for begin in range(0, _RESAMPLES, _CHUNK):
            drawn = pair[:, random.integers(0, count, (_CHUNK, count))]
            tails = np.partition(drawn, rank, axis=2)[:, :, rank]
            ratios[begin : begin + _CHUNK] += tails[0] / tails[1]
    low, high = np.percentile(ratios / len(own), [2.5, 97.5])
    return float(low), float(high)
