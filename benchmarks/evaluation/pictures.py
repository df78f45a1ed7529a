"""Which pictures the page has, and the lines that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.cells import Point
from evaluation.figures import draw_by_load, draw_frontier, draw_slowdowns
from evaluation.grid import Grid
from evaluation.results import MEAN, Results

__all__ = ["draw_all"]

_CDF_LOAD = 0.95


def draw_all(folder: Path, results: Results, grid: Grid) -> dict[str, str]:
    """Draw every picture that there are runs for; return by name the line that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    policies = grid.choice.policies

    def ran(points: Sequence[Point]) -> list[Point]:
        return [point for point in points if results.runs(point, "astraea")]

    def file(name: str) -> Path:
        return folder / f"evaluation-{name}.png"

    def figure(name: str, label: str, field: str, *, log: bool) -> None:
        draw_by_load(
            file(name), ran(grid.loads), policies, lambda point, policy: results.figure(point, policy, field),
            label=label, log=log,
        )  # fmt: skip

    captions: dict[str, str] = {}
    if ran(grid.loads):
        figure("jct", "mean JCT, s", MEAN, log=True)
        figure("recomputed", "recomputed share", "recomputed_share", log=False)
        draw_by_load(file("fairness"), ran(grid.loads), policies, results.fairness, label="Jain's index")
        captions |= {
            "jct": "Mean JCT against load",
            "recomputed": "Recomputed share of the prompt tokens against load",
            "fairness": "Jain's index over slowdowns against load",
        }
    at_load = [point for point in ran(grid.loads) if point.load == _CDF_LOAD]
    if at_load:
        draw_slowdowns(file("slowdown"), at_load, policies, results)
        captions["slowdown"] = f"Share of the jobs with at most a slowdown, at load {_CDF_LOAD:g}"
    pressed = ran(grid.bounds)
    if pressed and grid.has("bounds"):
        draw_frontier(file("frontier"), pressed, policies, results)
        captions["frontier"] = "Mean against p99 JCT over the bypass bound"
    return {name: f"![{caption}]({folder.name}/{file(name).name})" for name, caption in captions.items()}
