"""Which runs the page needs, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from evaluation.cells import Cell, Point
from evaluation.contenders import STRONG_RIVALS, contenders
from evaluation.variants import ABLATIONS, BYPASS_BOUNDS, NOISES
from evaluation.works import TARGET_WORKS, Setting

__all__ = ["HOSTS", "HOST_LOADS", "LOADS", "SECTIONS", "Choice", "Grid", "Sweep"]

LOADS = (0.5, 0.8, 0.95, 1.1)
HOSTS = (1.0, 4.0)
HOST_LOADS = (0.95, 1.1, 1.25)
PRESSED = (0.95, 1.1)
"""Loads at which parts are taken out and the bound is swept."""
SECTIONS = ("targets", "loads", "hosts", "bounds", "ablation", "left-out", "noise", "sensitivity", "sustained")
_SENSITIVITY_WORKS = ("infercept-mix", "swebench", "bfcl")
_SENSITIVITY_LOAD = 0.95


@frozen(slots=True, kw_only=True)
class Choice:
    """What part of the whole is asked for."""

    settings: Mapping[str, Setting]
    full: Mapping[str, Setting]
    """The target works with as many jobs as the targets are judged with; the rest may be smaller."""
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

    def _targets(self) -> list[Setting]:
        """The target works that are there; generated ``swebench`` in the place of a trace that is not."""
        settings = self.choice.settings
        return [settings[name] for name in _target_names(settings)]

    @property
    def target_names(self) -> list[str]:
        """The target works that are there in full."""
        return _target_names(self.choice.full)

    @property
    def targets(self) -> list[Point]:
        """The target works in full where the engine is full: what the targets are judged by."""
        full = self.choice.full
        return [Point(setting=full[name], load=load) for name in self.target_names for load in PRESSED]

    def has(self, section: str) -> bool:
        """Tell whether a section was asked for."""
        return section in self.choice.sections

    @property
    def loads(self) -> list[Point]:
        """All works without a host pool."""
        return [
            Point(setting=setting, load=load) for setting in self.choice.settings.values() for load in self.choice.loads
        ]

    @property
    def hosts(self) -> list[Point]:
        """The target works with host pools."""
        return [
            Point(setting=setting.with_host(host), load=load)
            for setting in self._targets()
            for host in self.choice.hosts
            for load in HOST_LOADS
        ]

    @property
    def judged(self) -> list[Point]:
        """All points at which all policies meet, each once."""
        sections = {"targets": self.targets, "loads": self.loads, "hosts": self.hosts}
        return list(dict.fromkeys(point for name, points in sections.items() if self.has(name) for point in points))

    @property
    def pressed(self) -> list[Point]:
        """The target works where the engine is full."""
        return [Point(setting=setting, load=load) for setting in self._targets() for load in PRESSED]

    @property
    def with_swap(self) -> list[Point]:
        """The target works where swapping is possible."""
        return [Point(setting=setting.with_host(4.0), load=load) for setting in self._targets() for load in PRESSED]

    @property
    def traces(self) -> list[Point]:
        """The traces where the engine is full; those of the targets in full, for that is where entries come again."""
        full = {name: self.choice.full[name] for name in self.target_names}
        settings = [
            full.get(work, setting)
            for work, setting in self.choice.settings.items()
            if setting.scenario.trace is not None
        ]
        return [Point(setting=setting, load=load) for setting in settings for load in PRESSED]

    @property
    def noisy(self) -> list[Point]:
        """The target works at the load that noise is judged at."""
        return [point for point in self.targets if point.load == _SENSITIVITY_LOAD]

    @property
    def sustained(self) -> list[Setting]:
        """The works whose sustained rate is searched, if it is: in full, for few jobs never fill an engine."""
        names = [name for name in self.target_names if not name.startswith("coding") and self.has("sustained")]
        return [self.choice.full[name] for name in names]

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
        settings = self.choice.settings
        works = [settings[name] for name in _SENSITIVITY_WORKS if name in settings]
        places = tuple(
            (
                f"{value:g}",
                {setting.work: Point(setting=change(setting, value), load=_SENSITIVITY_LOAD) for setting in works},
            )
            for value in values
        )
        return Sweep(what=what, unit=unit, places=places)

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
        match section:
            case "targets":
                yield from _all(self.targets, policies)
            case "loads":
                yield from _all(self.loads, policies)
            case "hosts":
                yield from _all(self.hosts, [*policies, "astraea-no-guard"])
            case "bounds":
                yield from _all(self.pressed, ["astraea-no-guard", *(f"astraea-k-{bound}" for bound in BYPASS_BOUNDS)])
            case "ablation":
                yield from _all(self.pressed, [name for name in ABLATIONS if name != "astraea-no-swap"])
                yield from _all(self.with_swap, ["astraea", "astraea-no-swap"])
            case "left-out":
                yield from _all(self.traces, ["astraea", "astraea-left-out"])
            case "noise":
                yield from _all(self.noisy, [*(f"astraea-noise-{times}" for times in NOISES), "astraea-adversarial"])
            case "sensitivity":
                for sweep in self.sweeps:
                    for _, points in sweep.places:
                        yield from _all(points.values(), ["astraea", *STRONG_RIVALS])
            case _:
                return  # what is sustained is no cell


def _target_names(settings: Mapping[str, Setting]) -> list[str]:
    names = [name if name in settings else Path(name).stem for name in TARGET_WORKS]
    return [name for name in names if name in settings]


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
