"""What Astraea is held to, and what was found: one judgement for each target and place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from astraea.simulator.sustain import Sustained
from evaluation.cells import Point
from evaluation.contenders import contenders
from evaluation.grid import Grid
from evaluation.results import TAIL, Results
from evaluation.statistics import geometric_mean
from evaluation.works import Setting

__all__ = ["Finding", "column", "findings", "place"]

_ORACLE = "srpt-oracle"
_WIDE = ("bfcl", "coding_requests.jsonl")
"""Where the oracle may be further ahead: sizes there are the least predictable."""


@frozen(slots=True, kw_only=True)
class Finding:
    """One target at one place."""

    target: str
    where: str
    value: float
    bound: float
    against: str = ""
    """Whom the value is a ratio to."""
    is_least: bool = False
    """The bound is the least that the value may be, not the most."""

    @property
    def met(self) -> bool:
        """Judged at the three decimals that are printed."""
        value = round(self.value, 3)
        return value >= self.bound if self.is_least else value <= self.bound

    @property
    def slack(self) -> float:
        """Value over bound, or bound over value: above 1 it is not met; for finding the worst place."""
        if self.is_least:
            return self.bound / max(self.value, 1e-9)
        return self.value / self.bound if self.bound else self.value


def column(point: Point) -> str:
    """Return a point as the head of a column, whose table says the rest."""
    return f"{point.setting.work} at {point.load:g}"


def place(point: Point) -> str:
    """Return a point in words."""
    host = f", host pool {point.host_kv:g}x" if point.host_kv else ""
    return f"{point.setting.work} at {point.load:g}{host}, {point.setting.scenario.jobs:,} jobs"


def findings(results: Results, grid: Grid, sustained: Mapping[tuple[Setting, str], Sustained]) -> list[Finding]:
    """Return all judgements for which there are runs, in the order of the targets."""
    found = [*_full(results, grid), *_light(results, grid), *_never_behind(results, grid), *_hosts(results, grid)]
    found += [*_marks(results, grid), *_noise(results, grid), *_tails(results, grid), *_bypasses(results, grid)]
    return [*found, *_sustained(sustained)]


def _against_best(
    results: Results, points: Iterable[Point], target: str, bound: float, policy: str = "astraea"
) -> Iterator[Finding]:
    for point in points:
        best = results.best_rival(point, policy)
        if best is not None:
            yield Finding(target=target, where=place(point), value=best.ratio, bound=bound, against=best.rival)


def _full(results: Results, grid: Grid) -> Iterator[Finding]:
    at = {load: [point for point in grid.targets if point.load == load] for load in (0.95, 1.1)}
    target = "load 0.95: mean JCT over the best published rival's"
    own = list(_against_best(results, at[0.95], target, 0.90))
    yield from own
    if own:
        mean = geometric_mean([finding.value for finding in own])
        yield Finding(target=f"{target}, geometric mean", where="all of these", value=mean, bound=0.55)
    yield from _against_best(results, at[1.1], "load 1.1: mean JCT over the best published rival's", 0.62)


def _light(results: Results, grid: Grid) -> Iterator[Finding]:
    target = "loads 0.5 and 0.8: mean JCT over the best of all, oracles included"
    for point in grid.loads:
        if point.load not in (0.5, 0.8):
            continue
        ratios = [
            (ratio, other) for other in contenders() if (ratio := results.ratio(point, "astraea", other)) is not None
        ]
        if ratios:
            ratio, other = max(ratios)
            yield Finding(target=target, where=place(point), value=ratio, bound=1.02, against=other)


def _never_behind(results: Results, grid: Grid) -> Iterator[Finding]:
    points = [point for point in dict.fromkeys([*grid.targets, *grid.loads]) if point.load >= 0.8]
    yield from _against_best(results, points, "load 0.8 and above: no published rival has a lower mean JCT", 1.0)


def _hosts(results: Results, grid: Grid) -> Iterator[Finding]:
    what = "host pool: mean JCT over the best published rival's"
    yield from _against_best(results, grid.hosts, f"{what}, guard off", 1.0, "astraea-no-guard")
    yield from _against_best(results, grid.hosts, f"{what}, guard at its default", 1.05)


def _marks(results: Results, grid: Grid) -> Iterator[Finding]:
    for point in grid.noisy:
        ratio = results.ratio(point, "astraea", _ORACLE)
        if ratio is not None:
            bound = 1.20 if point.setting.work in _WIDE else 1.10
            target = "load 0.95: mean JCT over that of the clairvoyant mark"
            yield Finding(target=target, where=place(point), value=ratio, bound=bound, against=_ORACLE)


def _noise(results: Results, grid: Grid) -> Iterator[Finding]:
    target = "load 0.95, prediction wrong by a factor of 4: no published rival has a lower mean JCT"
    yield from _against_best(results, grid.noisy, target, 1.0, "astraea-noise-4")


def _tails(results: Results, grid: Grid) -> Iterator[Finding]:
    for point in grid.noisy:
        best = results.best_rival(point, "astraea", TAIL)
        if best is not None:
            bound = 1.15 if point.setting.work == "bfcl" else 1.05
            target = "load 0.95: p99 JCT over the best published rival's"
            yield Finding(target=target, where=place(point), value=best.ratio, bound=bound, against=best.rival)


def _bypasses(results: Results, grid: Grid) -> Iterator[Finding]:
    """Yield the worst bypass over the bound, of every run of the policy as it is."""
    for point in grid.judged:
        bypass = results.worst_bypass(point, "astraea")
        if bypass is not None and bypass[1] is not None:
            target = "worst bypass over the bound"
            yield Finding(target=target, where=place(point), value=bypass[0] / max(1, bypass[1]), bound=1.0)


def _sustained(sustained: Mapping[tuple[Setting, str], Sustained]) -> Iterator[Finding]:
    for (setting, policy), found in sustained.items():
        base = sustained.get((setting, "fcfs"))
        if policy == "astraea" and base is not None and base.load and found.load:
            yield Finding(
                target="sustained rate over that of fcfs, mean slowdown at most 2", where=setting.work,
                value=found.load / base.load, bound=1.3, against="fcfs", is_least=True,
            )  # fmt: skip
