"""From measured batches to the constants of an engine profile, by the simulator's own step-time model.

The model is linear in its constants, so each batch gives one equation; the constants are those that make the
median relative error small, and none is negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
from attrs import evolve, frozen

from astraea.errors import UsageError
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.step_time import PS_PER_US, step_cost
from astraea.trace.steps import RanBatch

__all__ = ["StepError", "fit_profile", "predicted_us", "step_error"]

_CONSTANTS = 5
_UNIT = 1_000
_ROUNDS = 40
_RELATIVE_ERROR_LEAST = 0.01
"""Below it an error weighs no more: the last percent is noise."""


@frozen(slots=True)
class StepError:
    """How far the model is from measured batches, each counted once."""

    batches: int
    median: float
    """Of the absolute error over the measured time."""
    p90: float
    total: float
    """Error of the summed time, with its sign."""


def predicted_us(profile: EngineProfile, batch: RanBatch) -> float:
    """Return the time that the simulator would give a batch."""
    return step_cost(profile, batch.chunks).total_ps(batch.steps) / PS_PER_US


def step_error(profile: EngineProfile, batches: Sequence[RanBatch]) -> StepError:
    """Return the error of a profile on batches; :class:`UsageError` for none."""
    if not batches:
        raise UsageError("no batch was measured: give the measurement more time")
    measured = [batch.end_us - batch.begin_us for batch in batches]
    predicted = [predicted_us(profile, batch) for batch in batches]
    errors = sorted(abs(p - m) / m for p, m in zip(predicted, measured, strict=True))
    return StepError(len(batches), median(errors), errors[len(errors) * 9 // 10], sum(predicted) / sum(measured) - 1)


def fit_profile(profile: EngineProfile, batches: Sequence[RanBatch]) -> EngineProfile:
    """Return the profile with the constants of the step-time model that fit the batches best.

    Raises :class:`UsageError` where there are fewer batches than constants.
    """
    if len(batches) < _CONSTANTS:
        raise UsageError(f"{len(batches)} batches were measured, which is too few: give the measurement more time")
    measured = np.array([batch.end_us - batch.begin_us for batch in batches], dtype=float)
    # One row a batch: what a unit of each constant adds to its time, over its measured time.
    rows = np.array([_effects(profile, batch) for batch in batches]) / measured[:, None]
    weights = np.ones(len(batches))
    found = np.zeros(_CONSTANTS)
    for _ in range(_ROUNDS):  # weights by the last error turn squares into absolute values
        found = _not_negative(rows * weights[:, None], weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(rows @ found - 1), _RELATIVE_ERROR_LEAST))
    return _with(profile, [round(value) for value in found.tolist()])


def _with(profile: EngineProfile, constants: Sequence[int]) -> EngineProfile:
    """Return the profile with the model's constants in the order of its formula."""
    step_ns, piece_ns, token_ns, read_ps, pair_ps = constants
    return evolve(
        profile,
        step_ns=max(1, step_ns),
        piece_ns=piece_ns,
        prefill_ns_per_token=token_ns,
        read_ps_per_context_token=read_ps,
        attention_ps_per_token_pair=pair_ps,
    )


def _effects(profile: EngineProfile, batch: RanBatch) -> list[float]:
    """Return what one unit of each constant adds to a batch's time, in microseconds."""
    none = [1, 0, 0, 0, 0]  # no step is free in a profile
    base = predicted_us(_with(profile, none), batch)
    effects = []
    for place in range(_CONSTANTS):
        raised = [value + _UNIT * (place == i) for i, value in enumerate(none)]
        effects.append((predicted_us(_with(profile, raised), batch) - base) / _UNIT)
    return effects


def _not_negative(rows: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the least-squares solution without negative parts: the best over all sets of parts that may be above 0."""
    best, best_error = np.zeros(rows.shape[1]), float("inf")
    for size in range(1, rows.shape[1] + 1):
        for parts in combinations(range(rows.shape[1]), size):
            some = list(parts)
            solution = np.linalg.lstsq(rows[:, some], target, rcond=None)[0]
            error = float(np.sum((rows[:, some] @ solution - target) ** 2))
            if (solution >= 0).all() and error < best_error:
                best, best_error = np.zeros(rows.shape[1]), error
                best[some] = solution
    return best
