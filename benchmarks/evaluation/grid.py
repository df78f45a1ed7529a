"""Which runs the page needs, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from evaluation.cells import Cell, Point
from evaluation.contenders import RIVALS, STRONG_RIVALS, contenders
from evaluation.variants import ABLATIONS, BYPASS_BOUNDS, NOISES
from evaluation.works import TARGET_WORKS, Setting

__all__ = ["HOSTS", "HOST_LOADS", "LOADS", "SECTIONS", "Choice", "Grid", "Sweep"]

LOADS = (0.5, 0.8, 0.95, 1.1)
HOSTS = (1.0, 4.0)
HOST_LOADS = (0.95, 1.1, 1.25)
PRESSED = (0.95, 1.1)
"""Loads at which parts are taken out and the bound is swept."""
SECTIONS = ("targets", "loads", "hosts", "bounds", "ablation", "left-out", "noise", "sensitivity", "sustained")
_TIED = {"noise": "targets", "left-out": "targets", "sustained": "targets"}
"""Sections that have the jobs of another: they are judged beside it."""
_SENSITIVITY_WORKS = ("infercept-mix", "swebench", "bfcl")
_SENSITIVITY_LOAD = 0.95


@frozen(slots=True, kw_only=True)
class Choice:
    """What part of the whole is asked for."""

    settings: Mapping[str, Mapping[str, Setting]]
    """By section, the works by name: a section may have more jobs than another."""
    loads: Sequence[float] = LOADS
    hosts: Sequence[float] = HOSTS
    seeds: int = 3
    policies: Sequence[str] = contenders()
    sections: Sequence[str] = SECTIONS


@frozen(slots=True, kw_only=True)
class Sweep:
    """One thing that is varied, everything else as it is."""

    what: str
    unit: str
    places: tuple[tuple[str, Mapping[str, Point]], ...]
    """Each value, as text, with its point by work."""


class Grid:
    """The points of a choice."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    def has(self, section: str) -> bool:
        """Tell whether a section was asked for."""
        return section in self.choice.sections

    def works(self, section: str) -> list[Setting]:
        """Return the target works of a section; generated ``swebench`` in the place of a trace that is not there."""
        settings = self.choice.settings[_TIED.get(section, section)]
        names = [name if name in settings else Path(name).stem for name in TARGET_WORKS]
        return [settings[name] for name in names if name in settings]

    def _pressed(self, section: str) -> list[Point]:
        return [Point(setting=setting, load=load) for setting in self.works(section) for load in PRESSED]

    @property
    def targets(self) -> list[Point]:
        """The target works where the engine is full: what most targets are judged by."""
        return self._pressed("targets")

    @property
    def loads(self) -> list[Point]:
        """All works without a host pool."""
        settings = self.choice.settings["loads"].values()
        return [Point(setting=setting, load=load) for setting in settings for load in self.choice.loads]

    @property
    def hosts(self) -> list[Point]:
        """The target works with host pools."""
        return [
            Point(setting=setting.with_host(host), load=load)
            for setting in self.works("hosts")
            for host in self.choice.hosts
            for load in HOST_LOADS
        ]

    @property
    def judged(self) -> list[Point]:
        """All points at which the policies meet, each once."""
        sections = {"targets": self.targets, "loads": self.loads, "hosts": self.hosts}
        return list(dict.fromkeys(point for name, points in sections.items() if self.has(name) for point in points))

    @property
    def bounds(self) -> list[Point]:
        """Where the bound is swept."""
        return self._pressed("bounds")

    @property
    def parts(self) -> list[Point]:
        """Where parts are taken out."""
        return self._pressed("ablation")

    @property
    def with_swap(self) -> list[Point]:
        """Where swapping is possible and taken out."""
        return [evolve(point, setting=point.setting.with_host(4.0)) for point in self.parts]

    @property
    def noisy(self) -> list[Point]:
        """The target works at the load that noise is judged at."""
        return [point for point in self.targets if point.load == _SENSITIVITY_LOAD]

    @property
    def traces(self) -> list[Point]:
        """The traces where the engine is full."""
        settings = self.choice.settings["targets"].values()
        traces = [setting for setting in settings if setting.scenario.trace is not None]
        return [Point(setting=setting, load=load) for setting in traces for load in PRESSED]

    @property
    def sustained(self) -> list[Setting]:
        """The works whose sustained rate is searched, if it is."""
        if not self.has("sustained"):
            return []
        return [setting for setting in self.works("sustained") if not setting.work.startswith("coding")]

    @property
    def sweeps(self) -> list[Sweep]:
        """The sensitivities."""
        return [
            self._sweep("memory", "x the pool", (0.5, 1.0, 2.0), _with_memory),
            self._sweep("host pool", "x the pool", (0.0, 0.5, 1.0, 2.0, 4.0), Setting.with_host),
            self._sweep("tail of tool waits", "exponent", (0.0, 1.0, 1.5, 2.0), _with_tail),
            self._sweep("block size", "tokens", (1, 16, 64, 256), _with_block),
        ]

    def _sweep(
        self, what: str, unit: str, values: Sequence[float], change: Callable[[Setting, float], Setting]
    ) -> Sweep:
        settings = self.choice.settings["sensitivity"]
        works = [settings[name] for name in _SENSITIVITY_WORKS if name in settings]
        places = tuple(
            (
                f"{value:g}",
                {setting.work: Point(setting=change(setting, value), load=_SENSITIVITY_LOAD) for setting in works},
            )
            for value in values
        )
        return Sweep(what=what, unit=unit, places=places)

    def sizes(self) -> str:
        """Return in words how many jobs of a seed each section has of each work; sections that are alike together."""
        alike: dict[str, list[str]] = {}
        for section in self.choice.sections:
            settings = self.choice.settings[_TIED.get(section, section)]
            jobs = ", ".join(f"{setting.scenario.jobs:,} of {work}" for work, setting in settings.items())
            alike.setdefault(jobs, []).append(section)
        return "; ".join(f"for {' and '.join(sections)}: {jobs}" for jobs, sections in alike.items())

    def cells(self) -> list[Cell]:
        """Return all runs, each once: of every section the first seed first."""
        groups = dict.fromkeys(
            (point, policy) for section in SECTIONS if self.has(section) for point, policy in self._pairs(section)
        )
        return [
            Cell(point=point, policy=policy, seed=seed) for seed in range(self.choice.seeds) for point, policy in groups
        ]

    def _pairs(self, section: str) -> Iterator[tuple[Point, str]]:
        policies = self.choice.policies
        rivals = [policy for policy in policies if policy in RIVALS or policy in {"astraea", "srpt-oracle"}]
        match section:
            case "targets":
                yield from _all(self.targets, rivals)
            case "loads":
                yield from _all(self.loads, policies)
            case "hosts":
                yield from _all(self.hosts, [*rivals, "astraea-no-guard"])
            case "bounds":
                bounds = [f"astraea-k-{bound}" for bound in BYPASS_BOUNDS]
                yield from _all(self.bounds, ["astraea", "astraea-no-guard", *bounds])
            case "ablation":
                yield from _all(self.parts, ["astraea", *(name for name in ABLATIONS if name != "astraea-no-swap")])
                yield from _all(self.with_swap, ["astraea", "astraea-no-swap"])
            case "left-out":
                yield from _all(self.traces, ["astraea", "astraea-left-out"])
            case "noise":
                noises = [f"astraea-noise-{times}" for times in NOISES]
                yield from _all(self.noisy, ["astraea", *noises, "astraea-adversarial"])
            case "sensitivity":
                for sweep in self.sweeps:
                    for _, points in sweep.places:
                        yield from _all(points.values(), ["astraea", *STRONG_RIVALS])
            case _:
                return  # what is sustained is no cell


def _all(points: Iterable[Point], policies: Sequence[str]) -> Iterator[tuple[Point, str]]:
    return ((point, policy) for point in points for policy in policies)


def _with_memory(setting: Setting, times: float) -> Setting:
    return _changed(setting, "pool_tokens", int(setting.profile().pool_tokens * times))


def _with_block(setting: Setting, tokens: float) -> Setting:
    return _changed(setting, "block_tokens", int(tokens))


def _with_tail(setting: Setting, exponent: float) -> Setting:
    return evolve(setting, tail=exponent)


def _changed(setting: Setting, constant: str, value: int) -> Setting:
    """Return the setting with one constant of its engine replaced; itself where that changes nothing."""
    if getattr(setting.profile(), constant) == value:
        return setting
    return evolve(setting, engine_changes=((constant, value),))
