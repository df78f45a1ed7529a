"""What the answers say of a point: means over seeds, ratios seed by seed, and who the best rival is."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from attrs import frozen

from evaluation.cells import Answer, Cell, Point
from evaluation.contenders import RIVALS
from evaluation.statistics import interval_of_p99_ratio, jain_index

__all__ = ["MEAN", "TAIL", "Best", "Results"]

MEAN, TAIL = "mean_jct_s", "p99_jct_s"


@frozen(slots=True)
class Best:
    """The rival that a policy has the hardest time against, and the ratio: below 1 the policy is ahead of it."""

    rival: str
    ratio: float


class Results:
    """Answers by cell. A policy counts at a point once all of its seeds are there."""

    def __init__(self, answers: Mapping[Cell, Answer], seeds: int) -> None:
        self._answers = answers
        self.seeds = seeds

    def runs(self, point: Point, policy: str) -> tuple[Answer, ...]:
        """Return the answers of all seeds, or none."""
        cells = [Cell(point=point, policy=policy, seed=seed) for seed in range(self.seeds)]
        found = tuple(self._answers[cell] for cell in cells if cell in self._answers)
        return found if len(found) == self.seeds else ()

    def figure(self, point: Point, policy: str, name: str) -> float | None:
        """Return the mean over the seeds of a field of their verdicts."""
        runs = self.runs(point, policy)
        return fmean(getattr(run.verdict, name) for run in runs) if runs else None

    def fairness(self, point: Point, policy: str) -> float | None:
        """Return Jain's index over the slowdowns, mean over the seeds."""
        runs = self.runs(point, policy)
        return fmean(jain_index(run.slowdowns) for run in runs) if runs else None

    def worst_bypass(self, point: Point, policy: str) -> tuple[int, int | None] | None:
        """Return the worst bypass over the seeds and the bound."""
        runs = self.runs(point, policy)
        return (max(run.verdict.worst_bypass for run in runs), runs[0].verdict.bypass_bound) if runs else None

    def ratio(self, point: Point, policy: str, other: str, figure: str = MEAN) -> float | None:
        """Return the mean over the seeds of a figure over the other's figure of the same seed."""
        ratios = self.ratios(point, policy, other, figure)
        return fmean(ratios) if ratios else None

    def ratios(self, point: Point, policy: str, other: str, figure: str = MEAN) -> list[float]:
        """Return the ratio of each seed, or none."""
        pairs = zip(self.runs(point, policy), self.runs(point, other), strict=False)
        return [getattr(own.verdict, figure) / getattr(its.verdict, figure) for own, its in pairs]

    def best_rival(self, point: Point, policy: str, figure: str = MEAN) -> Best | None:
        """Return the published rival with the largest ratio against it, and that ratio; ``None`` where none ran."""
        ratios = [
            Best(rival, ratio) for rival in RIVALS if (ratio := self.ratio(point, policy, rival, figure)) is not None
        ]
        return max(ratios, key=lambda best: best.ratio, default=None)

    def tail_interval(self, point: Point, policy: str, rival: str) -> tuple[float, float] | None:
        """Return the 95 % bootstrap interval of the p99 ratio."""
        own, its = self.runs(point, policy), self.runs(point, rival)
        if not own or not its:
            return None
        return interval_of_p99_ratio([run.jct_s for run in own], [run.jct_s for run in its])
