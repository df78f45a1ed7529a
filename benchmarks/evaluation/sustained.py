"""The highest rate that each policy sustains, kept like any other answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict

from astraea.simulator.sustain import Sustained, find_sustained
from evaluation.cells import WARMUP_SHARE, setting_key
from evaluation.running import Runner, Store, Told
from evaluation.works import Setting

__all__ = ["SLOWDOWN_MAX", "SUSTAINED_POLICIES", "sustained_rates"]

SLOWDOWN_MAX = 2.0
SUSTAINED_POLICIES = ("fcfs", "astraea-paper", "infercept", "mars", "continuum", "astraea")
"""A search takes nine runs a seed, so not everybody is searched for."""


def sustained_rates(
    settings: Iterable[Setting], policies: Sequence[str], seeds: int, store: Store, *,
    workers: int, on_progress: Told | None = None, is_made: bool = True,
) -> dict[tuple[Setting, str], Sustained]:  # fmt: skip
    """Return what each policy sustains on each work; what is not kept is searched for, unless not asked to."""
    asked = [(setting, policy) for setting in settings for policy in policies]
    found = {}
    for setting, policy in asked:
        record = store.read(_name(setting, policy, seeds))
        if record is not None:
            found[setting, policy] = _from_json(record)
    missing = [(setting, policy, seeds) for setting, policy in asked if (setting, policy) not in found]
    if not is_made or not missing:
        return found
    with Runner(store.folder, workers) as runner:
        for (setting, policy, _), made in runner.each(_search, missing):
            found[setting, policy] = made
            if on_progress is not None:
                on_progress("sustained", len(found), len(asked))
    return found


def _name(setting: Setting, policy: str, seeds: int) -> str:
    about = f"{setting_key(setting)} {policy} {seeds} {SLOWDOWN_MAX} {WARMUP_SHARE}"
    return f"sustained-{hashlib.sha256(about.encode()).hexdigest()[:32]}"


def _search(setting: Setting, policy: str, seeds: int, folder: Path) -> Sustained:
    report = find_sustained(
        setting.scenario, SLOWDOWN_MAX, policies=[policy], seeds=seeds, warmup_share=WARMUP_SHARE, workers=1
    )
    (found,) = report.policies
    Store(folder).write(_name(setting, policy, seeds), asdict(found))
    return found


def _from_json(record: dict[str, Any]) -> Sustained:
    return Sustained(**{**record, "probes": tuple((load, slowdown) for load, slowdown in record["probes"])})
