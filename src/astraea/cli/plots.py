"""A picture of a report: mean and tail completion times as bars, and how slowdowns are spread.

The colours are those of Okabe and Ito, told apart with any colour vision; line styles differ too. Clairvoyant marks are
hatched and dotted, because nobody can reach them.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from astraea.cli.tables import is_clairvoyant, settings_line, title_line
from astraea.errors import UsageError
from astraea.simulator.experiment import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_plot_path", "save_plot"]

_FORMATS = (".png", ".svg", ".pdf")
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8C6D00")
_OWN_COLOUR = "#D55E00"
"""Vermilion, for ``astraea`` itself, wherever it stands in the list."""
_MARK_COLOURS = ("#000000", "#8A8A8A", "#56B4E9")
_DASHES = ("--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def check_plot_path(path: Path) -> None:
    """Raise :class:`UsageError` for a file that could not be drawn, before there is anything to draw."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path}: a plot is a file that ends in {', '.join(_FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent} to draw into")


def save_plot(report: Report, path: Path) -> None:
    """Draw the report to a file; :class:`UsageError` where it cannot be written."""
    check_plot_path(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(report.policies)
    figure = Figure(figsize=(11.0, 5.6 + 0.22 * rows), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    lines = [title_line(report), settings_line(report.scenario)]
    if any(is_clairvoyant(verdict.policy) for verdict in report.policies):
        lines.append("clairvoyant: told what the future holds, unattainable")
    figure.suptitle("\n".join(lines), fontsize=11)
    grid = figure.add_gridspec(2, 2, height_ratios=(0.35 + 0.3 * rows, 3.2))
    styles = _styles([verdict.policy for verdict in report.policies])
    means = [verdict.mean_jct_s for verdict in report.policies]
    tails = [verdict.p99_jct_s for verdict in report.policies]
    _bars(figure.add_subplot(grid[0, 0]), "Mean JCT (s)", means, styles, is_named=True)
    _bars(figure.add_subplot(grid[0, 1]), "p99 JCT (s)", tails, styles, is_named=False)
    _spread(figure.add_subplot(grid[1, :]), report, styles)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"{path}: the plot cannot be written ({error.strerror})") from error


_Styles = dict[str, tuple[str, object, bool]]
"""Colour, dashes and whether it is a clairvoyant mark, by policy in order."""


def _styles(policies: list[str]) -> _Styles:
    colours, dashes, mark_colours = cycle(_COLOURS), cycle(_DASHES), cycle(_MARK_COLOURS)
    styles: _Styles = {}
    for policy in policies:
        if policy == "astraea":
            styles[policy] = (_OWN_COLOUR, "-", False)
        elif is_clairvoyant(policy):
            styles[policy] = (next(mark_colours), ":", True)
        else:
            styles[policy] = (next(colours), next(dashes), False)
    return styles


def _bars(axes: Axes, title: str, values: list[float], styles: _Styles, *, is_named: bool) -> None:
    """Draw one bar a policy, the first on top, with its number at the end."""
    names = [f"{policy} (clairvoyant)" if is_mark else policy for policy, (_, _, is_mark) in styles.items()]
    bars = axes.barh(range(len(values)), values, color=[colour for colour, _, _ in styles.values()])
    for bar, (colour, _, is_mark) in zip(bars, styles.values(), strict=True):
        if is_mark:
            bar.set(hatch="///", facecolor="white", edgecolor=colour)
    axes.bar_label(bars, labels=[f" {value:,.0f}" if value >= 100 else f" {value:.1f}" for value in values])  # noqa: PLR2004
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlim(0, max(values) * 1.15)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_yticks(range(len(values)), names if is_named else [""] * len(values))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E5E5E5")
    _plain_frame(axes)


def _spread(axes: Axes, report: Report, styles: _Styles) -> None:
    """Draw, for each policy, which share of the jobs has at most which slowdown."""
    for policy, (colour, dashes, is_mark) in styles.items():
        values = report.slowdowns[policy]
        shares = [(index + 1) / len(values) for index in range(len(values))]
        width = 2.4 if policy == "astraea" else 1.6
        label = f"{policy} (clairvoyant)" if is_mark else policy
        axes.plot(values, shares, color=colour, linestyle=dashes, linewidth=width, label=label, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.4g}")
    axes.set_xlabel("slowdown: JCT / the job's time alone on the engine (log scale)")
    axes.set_ylabel("share of jobs")
    axes.set_title("Jobs with at most this slowdown", fontsize=10, loc="left")
    axes.set_ylim(0, 1.01)
    axes.grid(color="#E5E5E5")
    axes.legend(frameon=False, loc="lower right")
    _plain_frame(axes)


def _plain_frame(axes: Axes) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
