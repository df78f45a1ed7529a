"""The work that policies are compared on: generated workloads, and every trace in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from astraea.errors import UsageError
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.scenario import JobSource, Scenario
from evaluation.reshaping import with_tail

__all__ = ["JOBS_FULL", "TARGET_WORKS", "Setting", "settings_of", "trace_digest"]

JOBS_FULL = 600
"""Jobs of a seed; ``--jobs-limit`` is set against this, and workloads of more or fewer jobs shrink in proportion."""

_LLAMA, _GPTJ = "llama-8b-h100", "gptj-6b-a100"
_GENERATED: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "infercept-mix": (_GPTJ, 2_500),
        "bfcl": (_LLAMA, JOBS_FULL),
        "swebench": (_LLAMA, JOBS_FULL),
        "calculator": (_LLAMA, 1_200),
        "sharegpt-chat": (_LLAMA, JOBS_FULL),
        "deep-research": (_LLAMA, 300),
    }
)
"""Engine and jobs of a seed by workload: short jobs need more of them before the engine is full."""
_TRACES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"coding_requests.jsonl": MappingProxyType({"min_turns": 2, "tool_cap_s": 120.0})}
)
"""What is asked of single traces: one has permission prompts and sleeping laptops among its tool waits."""

TARGET_WORKS = ("infercept-mix", "swebench.jsonl", "coding_requests.jsonl", "bfcl")
"""Those that the targets are about."""


@frozen(slots=True, kw_only=True)
class Setting:
    """Work on an engine, without a load: what the capacity depends on."""

    work: str
    scenario: Scenario
    """With the number of jobs and the host pool, without a load."""
    engine_changes: tuple[tuple[str, int], ...] = ()
    """Constants of the engine that are replaced."""
    tail: float = field(default=1.0)
    """Exponent of the tool waits about their mean; see :func:`evaluation.reshaping.with_tail`."""

    def profile(self) -> EngineProfile:
        """Return the engine with its changes."""
        changes: Mapping[str, Any] = dict(self.engine_changes)
        return evolve(self.scenario.profile(), **changes)

    def draw(self, seed: int) -> list[JobSpec]:
        """Return the jobs of a seed, without arrivals."""
        jobs = JobSource(self.scenario, self.profile(), []).draw(seed)
        return jobs if self.tail == 1.0 else with_tail(jobs, self.tail)

    def with_host(self, ratio: float) -> Setting:
        """Return the same work with a host pool of so many times the device pool."""
        return evolve(self, scenario=evolve(self.scenario, host_ratio=ratio))


def settings_of(traces: Path | None, jobs_limit: int | None, names: Sequence[str] | None = None) -> dict[str, Setting]:
    """Return the settings by name, generated work first; ``names`` picks some of them, in its order.

    Raises :class:`UsageError` for an unknown name, a folder without traces and a limit below 1.
    """
    if jobs_limit is not None and jobs_limit < 1:
        raise UsageError(f"the limit on jobs must be at least 1, not {jobs_limit}")
    found = {
        name: Scenario(workload=name, engine=engine, jobs=_limited(jobs, jobs_limit))
        for name, (engine, jobs) in _GENERATED.items()
    }
    for file in _trace_files(traces):
        asked = dict(_TRACES.get(file.name, {}))
        found[file.name] = Scenario(
            trace=file, engine=_LLAMA, jobs=_limited(JOBS_FULL, jobs_limit),
            min_turns=int(asked.get("min_turns", 1)), tool_cap_s=asked.get("tool_cap_s"),
        )  # fmt: skip
    for name in names or ():
        if name not in found:
            raise UsageError(f"unknown work {name!r}: name one of {', '.join(found)}; traces need their folder")
    return {name: Setting(work=name, scenario=found[name]) for name in names or found}


def _limited(jobs: int, limit: int | None) -> int:
    return jobs if limit is None or limit >= JOBS_FULL else max(1, jobs * limit // JOBS_FULL)


def _trace_files(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder of traces")
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UsageError(f"{folder}: there is no .jsonl file in it")
    return files


@cache
def trace_digest(trace: Path) -> str:
    """Return the SHA-256 of a trace's content: a result depends on it, not on where the file lies."""
    return hashlib.sha256(trace.read_bytes()).hexdigest()
