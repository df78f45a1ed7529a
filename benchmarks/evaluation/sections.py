"""The sections of the page that set figures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from astraea.simulator.sustain import Sustained
from evaluation.cells import Point
from evaluation.grid import Grid
from evaluation.markdown import percent, ratio, seconds, table
from evaluation.results import MEAN, TAIL, Results
from evaluation.targets import column, place
from evaluation.variants import ABLATIONS, BYPASS_BOUNDS, VARIANTS
from evaluation.works import Setting

__all__ = ["bounds", "by_point", "everything", "left_out", "noise", "parts", "sensitivity", "sustained_section"]

_ORACLE = "srpt-oracle"
_ALIKE = 0.02
"""Two means closer than this are called alike."""


def by_point(results: Results, points: Iterable[Point], policy: str = "astraea") -> list[str]:
    """Return a row a point: the policy against the best rival by mean and by p99, and against the mark."""
    rows = []
    for point in points:
        best, tail = (results.best_rival(point, policy, figure) for figure in (MEAN, TAIL))
        if best is None or tail is None:
            continue
        low_high = results.tail_interval(point, policy, tail.rival)
        interval = f" ({low_high[0]:.2f} to {low_high[1]:.2f})" if low_high else ""
        seeds = results.ratios(point, policy, best.rival)
        spread = f" ({min(seeds):.2f} to {max(seeds):.2f})" if len(seeds) > 1 else ""
        rows.append(
            [
                place(point), best.rival, seconds(results.figure(point, best.rival, MEAN)),
                seconds(results.figure(point, policy, MEAN)), f"{ratio(best.ratio)}{spread}",
                ratio(results.ratio(point, policy, _ORACLE)), tail.rival, f"{ratio(tail.ratio)}{interval}",
            ]
        )  # fmt: skip
    headers = [
        "where",
        "best by mean",
        "s",
        "astraea, s",
        "ratio (seeds)",
        "over the mark",
        "best by p99",
        "p99 ratio (95 %)",
    ]
    return table(headers, rows, texts=2)


def bounds(results: Results, points: Sequence[Point]) -> list[str]:
    """Return what each bound K costs in mean and gives in p99, against the policy at its default."""
    rows = []
    named = [(f"{bound:,}", f"astraea-k-{bound}") for bound in BYPASS_BOUNDS]
    for text, policy in [*named, ("no guard", "astraea-no-guard")]:
        cells = [
            f"{ratio(mean)} / {ratio(results.ratio(point, policy, 'astraea', TAIL))}" if mean is not None else ""
            for point in points
            for mean in [results.ratio(point, policy, "astraea")]
        ]
        if any(cells):
            rows.append([text, *cells])
    return table(["K", *(column(point) for point in points)], rows)


def parts(results: Results, grid: Grid) -> list[str]:
    """Return what each part is worth: mean JCT without it over mean JCT with it, and a word on the control."""
    rows = []
    for policy, variant in ABLATIONS.items():
        points = grid.with_swap if policy == "astraea-no-swap" else grid.parts
        cells = [ratio(results.ratio(point, policy, "astraea")) for point in points]
        if any(cells):
            rows.append([variant.what, *cells])
    lines = table(["without", *(column(point) for point in grid.parts)], rows)
    return [*lines, *_control(results, grid.parts)]


def _control(results: Results, points: Sequence[Point]) -> list[str]:
    """Say whether shuffled classes take any gain away."""
    found = [(value, point) for point in points if (value := results.ratio(point, "astraea-shuffled-class", "astraea"))]
    if not found:
        return []
    worse = [(value, point) for value, point in found if value > 1 + _ALIKE]
    better = [(value, point) for value, point in found if value < 1 - _ALIKE]
    most, where = max(found, key=lambda pair: abs(pair[0] - 1))
    moved = f"The largest change is a ratio of {most:.3f}, {place(where)}."
    if not worse:
        verdict = f"is nowhere more than {_ALIKE:.0%} higher: **the gain stays, so the class is not its cause.**"
    else:
        verdict = (
            f"rises by more than {_ALIKE:.0%} at {len(worse)} of {len(found)} points and falls by as much at "
            f"{len(better)}. Where it does not rise, the class is not the cause of the gain."
        )
    return [f"With shuffled classes the mean JCT {verdict} {moved}", ""]


def noise(results: Results, points: Sequence[Point]) -> list[str]:
    """Return each disturbance against the undisturbed policy and against the best rival."""
    rows = []
    for policy in ("astraea", "astraea-noise-2", "astraea-noise-4", "astraea-adversarial"):
        what = VARIANTS[policy].what if policy in VARIANTS else "as it is"
        cells = []
        for point in points:
            own, best = results.ratio(point, policy, "astraea"), results.best_rival(point, policy)
            cells.append(f"{ratio(own)} / {ratio(best.ratio if best else None)}" if own is not None else "")
        if any(cells):
            rows.append([what, *cells])
    return table(["prediction", *(column(point) for point in points)], rows)


def left_out(results: Results, points: Sequence[Point]) -> list[str]:
    """Return what the traces flatter: the same policy that learns nothing of an entry from the entry itself."""
    rows = []
    for point in points:
        own = results.ratio(point, "astraea-left-out", "astraea")
        if own is not None:
            best = results.best_rival(point, "astraea-left-out")
            mean = seconds(results.figure(point, "astraea", MEAN))
            other = seconds(results.figure(point, "astraea-left-out", MEAN))
            rows.append([place(point), mean, other, ratio(own), ratio(best.ratio if best else None)])
    headers = ["where", "astraea, s", "entry left out, s", "ratio", "left out, over the best rival"]
    return table(headers, rows)


def sensitivity(results: Results, grid: Grid) -> list[str]:
    """Return a table a sweep: the ratio to the best of the strong rivals, and who that is."""
    lines: list[str] = []
    for sweep in grid.sweeps:
        works = list(sweep.places[0][1])
        rows = []
        for text, points in sweep.places:
            cells = []
            for work in works:
                best = results.best_rival(points[work], "astraea")
                cells.append("" if best is None else f"{ratio(best.ratio)} {best.rival}")
            if any(cells):
                rows.append([f"{text} {sweep.unit}", *cells])
        lines += [f"**{sweep.what.capitalize()}**", "", *table([sweep.what, *works], rows)]
    return lines


def sustained_section(found: Mapping[tuple[Setting, str], Sustained]) -> list[str]:
    """Return the highest rate of each policy by work, in jobs a second and against ``fcfs``."""
    works = list(dict.fromkeys(setting for setting, _ in found))
    rows = []
    for policy in dict.fromkeys(policy for _, policy in found):
        cells = []
        for work in works:
            own, base = found.get((work, policy)), found.get((work, "fcfs"))
            if own is None or own.rate_jobs_per_s is None or own.load is None:
                cells.append("none" if own is not None else "")
            else:
                against = f" ({own.load / base.load:.2f})" if base is not None and base.load else ""
                least = "at least " if own.is_highest_tried else ""
                cells.append(f"{least}{own.rate_jobs_per_s:.4g}{against}")
        rows.append([policy, *cells])
    return table(["policy", *(work.work for work in works)], rows)


def everything(results: Results, points: Sequence[Point], policies: Sequence[str]) -> list[str]:
    """Return a table a work: mean / p99 JCT in seconds, and the recomputed share, of every policy at every load."""
    lines: list[str] = []
    for setting in dict.fromkeys(point.setting for point in points):
        own = [point for point in points if point.setting == setting]
        rows = []
        for policy in policies:
            cells = [
                f"{seconds(mean)} / {seconds(results.figure(point, policy, TAIL))} / "
                f"{percent(results.figure(point, policy, 'recomputed_share'))}"
                if (mean := results.figure(point, policy, MEAN)) is not None
                else ""
                for point in own
            ]
            if any(cells):
                rows.append([policy, *cells])
        host = f", host pool {own[0].host_kv:g}x" if own[0].host_kv else ""
        lines += [
            f"**{setting.work}{host}, {setting.scenario.jobs:,} jobs**",
            "",
            *table(["policy", *(f"{point.load:g}" for point in own)], rows),
        ]
    return lines
