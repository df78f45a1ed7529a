"""One run as a question, the name under which its answer is kept, and the answer itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import fmean

from attrs import asdict, frozen

import astraea
from astraea.simulator.capacity import source_digest
from astraea.simulator.verdict import SeedVerdict
from evaluation.variants import VARIANTS
from evaluation.works import Setting, trace_digest

__all__ = ["WARMUP_SHARE", "Answer", "Cell", "Point", "key_of", "setting_key"]

WARMUP_SHARE = 0.1
_OWN_SOURCE = ("reshaping.py", "running.py", "works.py")
_VARIANT_SOURCE = ("predictors.py", "variants.py")


@frozen(slots=True, kw_only=True)
class Point:
    """Work at a load: all policies meet there."""

    setting: Setting
    load: float

    @property
    def host_kv(self) -> float:
        """The host pool as a multiple of the device pool."""
        return self.setting.scenario.host_ratio


@frozen(slots=True, kw_only=True)
class Cell:
    """One policy, or variant, and one seed at a point."""

    point: Point
    policy: str
    seed: int


@frozen(slots=True, kw_only=True)
class Answer:
    """What a run came to: its figures, and every job after the warm-up in order of arrival."""

    verdict: SeedVerdict
    jct_s: tuple[float, ...]
    slowdowns: tuple[float, ...]
    wall_s: float
    """What the run took on the machine that made it."""

    @property
    def mean_slowdown(self) -> float:
        """The mean over the jobs after the warm-up."""
        return fmean(self.slowdowns)

    def as_json(self) -> dict[str, object]:
        """Return the answer as it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, object]) -> Answer:
        """Return a kept answer; :class:`TypeError` or :class:`KeyError` where the record is not one."""
        return cls(
            verdict=SeedVerdict(**record["verdict"]),  # type: ignore[arg-type]
            jct_s=tuple(record["jct_s"]),  # type: ignore[arg-type]
            slowdowns=tuple(record["slowdowns"]),  # type: ignore[arg-type]
            wall_s=float(record["wall_s"]),  # type: ignore[arg-type]
        )


def setting_key(setting: Setting) -> str:
    """Return the name of a setting by its content: work, engine, and all source that a result depends on."""
    scenario = asdict(setting.scenario)
    trace = scenario.pop("trace")
    about = {
        "scenario": scenario,
        "trace": None if trace is None else trace_digest(trace),
        "profile": asdict(setting.profile()),
        "tail": setting.tail,
        "source": [astraea.__version__, source_digest(), _digest(_OWN_SOURCE)],
    }
    return _named(about)


def key_of(cell: Cell) -> str:
    """Return the name of a cell by its content; a variant's depends on the source of the variants too."""
    about = {
        "setting": setting_key(cell.point.setting),
        "load": cell.point.load,
        "policy": cell.policy,
        "seed": cell.seed,
        "warmup_share": WARMUP_SHARE,
        "variants": _digest(_VARIANT_SOURCE) if cell.policy in VARIANTS else "",
    }
    return _named(about)


def _named(about: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _digest(names: tuple[str, ...]) -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in names)).hexdigest()
