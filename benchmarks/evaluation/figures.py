"""The pictures of the page, each a row of small ones, one a workload.

The colours are those of Okabe and Ito; dashes differ too. Policies that are not named in a legend are drawn thin and
grey, so that nobody is left out. A clairvoyant mark is dotted: nobody can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullLocator

from evaluation.cells import Point
from evaluation.contenders import ORACLES
from evaluation.results import MEAN, TAIL, Results
from evaluation.variants import BYPASS_BOUNDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_by_load", "draw_frontier", "draw_slowdowns"]

_STYLES: dict[str, tuple[str, object]] = {
    "astraea": ("#D55E00", "-"),
    "fcfs": ("#0072B2", "--"),
    "astraea-paper": ("#E69F00", "-."),
    "infercept": ("#009E73", (0, (5, 1))),
    "mars": ("#CC79A7", (0, (3, 1, 1, 1))),
    "continuum": ("#8C6D00", (0, (1, 1))),
    "thunderagent-undecayed": ("#56B4E9", (0, (7, 2))),
    "srpt-oracle": ("#000000", ":"),
}
_GREY = "#BDBDBD"
_COLUMNS = 4

Value = Callable[[Point, str], float | None]


def draw_by_load(
    path: Path, points: Sequence[Point], policies: Sequence[str], value: Value, *, label: str, log: bool = False
) -> None:
    """Draw a value against the load, one picture a workload and one line a policy."""
    with _panels(path, _works(points), policies) as panels:
        for work, axes in panels:
            own = [point for point in points if point.setting.work == work]
            for policy in _behind_first(policies):
                pairs = [(point.load, found) for point in own if (found := value(point, policy)) is not None]
                if pairs:
                    axes.plot(*zip(*pairs, strict=True), marker=".", **_line(policy))
            axes.set_xlabel("load")
            axes.set_ylabel(label)
            if log:
                _log(axes, "y", LogLocator(subs=(1.0, 2.0, 5.0)))


def draw_slowdowns(path: Path, points: Sequence[Point], policies: Sequence[str], results: Results) -> None:
    """Draw for each policy which share of the jobs of all seeds has at most which slowdown."""
    with _panels(path, _works(points), policies) as panels:
        for (_, axes), point in zip(panels, points, strict=False):
            for policy in _behind_first(policies):
                values = sorted(slowdown for run in results.runs(point, policy) for slowdown in run.slowdowns)
                if values:
                    shares = [(number + 1) / len(values) for number in range(len(values))]
                    axes.plot(values, shares, **_line(policy))
            _log(axes, "x", LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.set_xlabel(f"slowdown, load {point.load:g}")
            axes.set_ylabel("share of jobs")


def draw_frontier(path: Path, points: Sequence[Point], policies: Sequence[str], results: Results) -> None:
    """Draw mean against p99 JCT: a line over the bypass bound K, and a mark for each other policy."""
    names = [f"{point.setting.work} at {point.load:g}" for point in points]
    with _panels(path, names, policies) as panels:
        for (_, axes), point in zip(panels, points, strict=True):
            for policy in _behind_first(policies):
                _mark(axes, results, point, policy)
            _bounds(axes, results, point)
            axes.set_xlabel("mean JCT, s")
            axes.set_ylabel("p99 JCT, s")
            _log(axes, "x", MaxNLocator(4))
            _log(axes, "y", MaxNLocator(4))


def _log(axes: Axes, side: Literal["x", "y"], ticks: Locator) -> None:
    """Make one side logarithmic, with plain numbers at its ticks."""
    axes.set(**{f"{side}scale": "log"})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,.4g}")


def _mark(axes: Axes, results: Results, point: Point, policy: str) -> None:
    mean, tail = results.figure(point, policy, MEAN), results.figure(point, policy, TAIL)
    if mean is not None and tail is not None:
        colour, _ = _STYLES.get(policy, (_GREY, "-"))
        axes.plot([mean], [tail], marker="*" if policy in ORACLES else "o", color=colour, linestyle="none")


def _bounds(axes: Axes, results: Results, point: Point) -> None:
    """Draw the line of the bounds, small to large, the unguarded policy at its end."""
    named = [(f"{bound:,}", f"astraea-k-{bound}") for bound in BYPASS_BOUNDS]
    found = [
        (text, mean, tail)
        for text, policy in [*named, ("no guard", "astraea-no-guard")]
        if (mean := results.figure(point, policy, MEAN)) is not None
        and (tail := results.figure(point, policy, TAIL)) is not None
    ]
    if not found:
        return
    axes.plot([mean for _, mean, _ in found], [tail for _, _, tail in found], color=_STYLES["astraea"][0], marker="+")
    told: set[tuple[float, float]] = set()
    for text, mean, tail in found:
        if (round(mean, 2), round(tail, 2)) not in told:
            axes.annotate(text, (mean, tail), fontsize=6, xytext=(3, 3), textcoords="offset points")
        told.add((round(mean, 2), round(tail, 2)))


def _works(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.setting.work for point in points))


def _behind_first(policies: Sequence[str]) -> list[str]:
    """Return the policies in the order to draw them in: grey ones first, Astraea on top."""
    order = ["", *reversed(_STYLES)]
    return sorted(policies, key=lambda policy: order.index(policy) if policy in _STYLES else 0)


def _line(policy: str) -> dict[str, Any]:
    if policy not in _STYLES:
        return {"color": _GREY, "linewidth": 0.8}
    colour, dashes = _STYLES[policy]
    return {"color": colour, "linestyle": dashes, "linewidth": 2.2 if policy == "astraea" else 1.4}


@contextmanager
def _panels(path: Path, titles: Sequence[str], policies: Sequence[str]) -> Iterator[list[tuple[str, Axes]]]:
    """Give one set of axes a title, then draw the legend and write the file."""
    rows = -(-len(titles) // _COLUMNS)
    columns = min(_COLUMNS, len(titles))
    figure = Figure(figsize=(3.3 * columns, 2.7 * rows + 0.7), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = []
    for number, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.set_title(title, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.grid(color="#E5E5E5")
        axes.set_axisbelow(True)
        panels.append((title, axes))
    yield panels
    shown = [policy for policy in _STYLES if policy in policies]
    handles = [Line2D([], [], label=policy, **_line(policy)) for policy in shown]
    if len(shown) < len(policies):
        handles.append(Line2D([], [], label="all others", **_line("")))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
