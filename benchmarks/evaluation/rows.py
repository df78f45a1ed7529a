"""The grid as rows of plain figures: what ``--json`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evaluation.cells import Point
from evaluation.results import MEAN, TAIL, Results

__all__ = ["rows_of"]


def rows_of(results: Results, points: Iterable[Point], policies: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each policy that ran at each point.

    Seconds are means over the seeds, ``ratio_to_best_rival`` is the mean of the ratios of each seed to the published
    rival against which that is largest, and ``worst_bypass`` is the worst of any seed.
    """
    rows: list[dict[str, Any]] = []
    for point in points:
        for policy in policies:
            bypass = results.worst_bypass(point, policy)
            if bypass is None:
                continue
            best = results.best_rival(point, policy)
            rows.append(
                {
                    "workload": point.setting.work,
                    "engine": point.setting.profile().name,
                    "host_kv": point.host_kv,
                    "load": point.load,
                    "policy": policy,
                    "mean_jct_s": _rounded(results.figure(point, policy, MEAN)),
                    "p99_jct_s": _rounded(results.figure(point, policy, TAIL)),
                    "ratio_to_best_rival": None if best is None else round(best.ratio, 4),
                    "worst_bypass": bypass[0],
                    "bypass_bound": bypass[1],
                }
            )
    return rows


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
