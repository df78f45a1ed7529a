"""Predictors that know less than Astraea's, or are wrong on purpose; each stands in the place of the policy's own.

A predictor here is told by its policy which job a question or a lesson is about (``about``), passes on what it does not
change, and may be asked whatever the policy's own can be asked.
"""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor

__all__ = ["Folded", "Inverted", "Noisy", "Untaught", "entry_of"]


def entry_of(job_id: str) -> str:
    """Return the entry of a trace that a job was drawn from: a draw is named ``<entry>#<number>``."""
    return job_id.rpartition("#")[0] or job_id


class _Instead:
    """Stands in the place of a predictor and passes on what is not changed."""

    def __init__(self, limits: Limits) -> None:
        self._own = Predictor(limits)
        self.job_id = ""

    def about(self, job_id: str) -> None:
        """Note whose job the next question or lesson is about."""
        self.job_id = job_id

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a predictor can be asked
        return getattr(self._own, name)


class Untaught(_Instead):
    """Predicts the remaining service of a job as on the first day, whatever has ended since."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._blank = Predictor(limits)

    def remaining_us(self, *known: Any) -> int:  # noqa: ANN401
        """Return what a predictor says that has learnt nothing."""
        return self._blank.remaining_us(*known)


class Noisy(_Instead):
    """Multiplies every remaining service by ``times^z``; z is standard normal, and one and the same for a whole job."""

    def __init__(self, limits: Limits, times: float) -> None:
        super().__init__(limits)
        self._log_times = math.log(times)

    def remaining_us(self, *known: Any) -> int:  # noqa: ANN401
        """Return the estimate with the error of the job that it is about."""
        z = random.Random(self.job_id).gauss(0.0, 1.0)
        return max(1, round(self._own.remaining_us(*known) * math.exp(self._log_times * z)))


class Inverted(_Instead):
    """Turns the order of predictions round: ``G^2 / R`` for an estimate R, G the geometric mean of all so far."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._log_sum = 0.0
        self._count = 0

    def remaining_us(self, *known: Any) -> int:  # noqa: ANN401
        """Return a large number for a small estimate, and a small one for a large."""
        log = math.log(max(1, self._own.remaining_us(*known)))
        self._log_sum += log
        self._count += 1
        return max(1, round(math.exp(2 * self._log_sum / self._count - log)))


class Folded:
    """Never learns about an entry of a trace from that entry: one predictor a fold, taught by all other folds.

    Draws with replacement bring the same entry again and again; a predictor that has seen it end once would know its
    second run. Entries fall into folds by their name's hash, so each estimate rests on 15 of 16 parts of what ended.
    """

    FOLDS = 16

    def __init__(self, limits: Limits) -> None:
        self._folds = [Predictor(limits) for _ in range(self.FOLDS)]
        self._fold = 0

    def about(self, job_id: str) -> None:
        """Note whose job the next question or lesson is about."""
        self._fold = hashlib.sha256(entry_of(job_id).encode()).digest()[0] % self.FOLDS

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a predictor can be asked or taught
        if not name.startswith("learn_"):
            return getattr(self._folds[self._fold], name)
        others = [getattr(fold, name) for number, fold in enumerate(self._folds) if number != self._fold]

        def teach(*lesson: object) -> None:
            for learn in others:
                learn(*lesson)

        return teach
