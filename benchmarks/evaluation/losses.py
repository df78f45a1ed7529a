"""The first part of the page: where others are better, and which targets are missed."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.cells import Point
from evaluation.grid import Grid
from evaluation.markdown import ratio, seconds, table
from evaluation.results import MEAN, TAIL, Results
from evaluation.targets import Finding, place

__all__ = ["losses", "targets_table"]


def losses(results: Results, grid: Grid, found: Sequence[Finding]) -> list[str]:
    """Return the section on where Astraea is behind."""
    points = grid.judged
    behind, count = _behind(results, points, MEAN)
    tails, _ = _behind(results, points, TAIL)
    missed = sorted((finding for finding in found if not finding.met), key=lambda finding: -finding.slack)
    headers = ["where", "rival", "its mean JCT, s", "astraea, s", "ratio"]
    tail_headers = ["where", "rival", "its p99 JCT, s", "astraea, s", "ratio", "95 % interval"]
    mean_text = (
        f"**Mean.** At {len(behind)} of {count} points some published rival has the lower mean JCT{_clearly(behind)}. "
        "A ratio is the mean of the ratios seed by seed, and judged at three decimals."
    )
    tail_text = (
        f"**Tail.** At {len(tails)} of {count} points some published rival has the lower p99 JCT{_clearly(tails)}. "
        "The interval is a bootstrap over jobs, the same for both; where it holds 1, the two are not told apart."
    )
    lines = ["## Where Astraea is behind", "", mean_text, ""]
    lines += table(headers, [row[:5] for row in behind], texts=2) if behind else []
    lines += [tail_text, "", *(table(tail_headers, tails, texts=2) if tails else [])]
    lines += [f"**Targets.** {len(missed)} of {len(found)} judgements are missed.", ""]
    return lines + (table(*_finding_rows(missed), texts=3) if missed else [])


def targets_table(found: Sequence[Finding]) -> list[str]:
    """Return all targets, each with how many places meet it and the worst of them."""
    rows = []
    for target in dict.fromkeys(finding.target for finding in found):
        own = [finding for finding in found if finding.target == target]
        worst = max(own, key=lambda finding: finding.slack)
        met = sum(finding.met for finding in own)
        bounds = sorted({finding.bound for finding in own})
        bound = f"{'at least' if worst.is_least else 'at most'} {' or '.join(f'{bound:.2f}' for bound in bounds)}"
        met_text = f"{met} of {len(own)}" if met == len(own) else f"**{met} of {len(own)}**"
        rows.append([target, worst.where, worst.against, bound, ratio(worst.value), met_text])
    headers = ["target", "worst place", "against", "bound", "found there", "met"]
    return ["## The targets", "", *table(headers, rows, texts=3)]


def _clearly(rows: Sequence[Sequence[str]]) -> str:
    """Say how many of the rows are no matter of a percent."""
    return f", at {sum(float(row[4]) > 1.01 for row in rows)} of them by more than 1 %" if rows else ""


def _finding_rows(found: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            finding.target,
            finding.where,
            finding.against,
            ratio(finding.value),
            f"{'at least' if finding.is_least else 'at most'} {finding.bound:.2f}",
        ]
        for finding in found
    ]
    return ["target", "where", "against", "found", "bound"], rows


def _behind(results: Results, points: Sequence[Point], figure: str) -> tuple[list[list[str]], int]:
    """Return a row for each point at which a rival is ahead, the worst first, and how many points were judged."""
    rows, count = [], 0
    for point in points:
        best = results.best_rival(point, "astraea", figure)
        if best is None:
            continue
        count += 1
        if round(best.ratio, 3) > 1:
            its, own = results.figure(point, best.rival, figure), results.figure(point, "astraea", figure)
            low_high = results.tail_interval(point, "astraea", best.rival) if figure == TAIL else None
            interval = f"{low_high[0]:.2f} to {low_high[1]:.2f}" if low_high else ""
            row = [place(point), best.rival, seconds(its), seconds(own), ratio(best.ratio), interval]
            rows.append((best.ratio, row))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])], count
