"""How many jobs per second an engine can serve: what a load of 1 means.

The capacity is the throughput of ``job-fcfs-kept`` (job arrival order under Astraea's memory rules) over the middle
80 % of the completions when all jobs are present at time zero. It takes a simulation to know, so it is kept on disk,
by content: the jobs, the engine, the host pool and the very source of the scheduler and the simulator. A changed
policy is never answered from the cache; a cache file that cannot be read or written only costs time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from attrs import asdict, evolve

import astraea
from astraea.folders import cache_folder
from astraea.simulator.arrivals import all_at_zero
from astraea.simulator.driver import simulate
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.verdict import middle_throughput

__all__ = ["CAPACITY_POLICY", "capacity_jobs_per_s", "content_key", "source_digest"]

CAPACITY_POLICY = "job-fcfs-kept"
_KEY = "capacity_jobs_per_s"
_SOURCE = ("units.py", "errors.py", "events.py", "decisions.py", "policy", "rivals", "simulator")
"""What a result depends on, below the package's folder."""


def capacity_jobs_per_s(
    jobs: Sequence[JobSpec],
    profile: EngineProfile,
    *,
    host_ratio: float = 0.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> float:
    """Return the capacity of an engine for these jobs, from the cache where it is known.

    ``on_progress`` is told (jobs done, jobs) where a simulation has to run. Raises
    :class:`~astraea.errors.UsageError` for what the simulation cannot carry out.
    """
    file = cache_folder() / "capacity" / f"{content_key(jobs, profile, host_ratio=host_ratio)}.json"
    known = _read(file)
    if known is not None:
        return known
    result = simulate(all_at_zero(list(jobs)), profile, CAPACITY_POLICY, host_ratio=host_ratio, on_progress=on_progress)
    capacity = middle_throughput(result.jobs)
    _write(file, capacity)
    return capacity


def content_key(jobs: Sequence[JobSpec], profile: EngineProfile, *, host_ratio: float) -> str:
    """Return the SHA-256 of everything that the capacity depends on; arrivals are not among it."""
    digest = hashlib.sha256()
    digest.update(f"{astraea.__version__} {source_digest()} {host_ratio!r}\n".encode())
    digest.update(json.dumps(asdict(profile), sort_keys=True).encode())
    for job in jobs:
        digest.update(b"\n")
        digest.update(json.dumps(asdict(evolve(job, arrival_us=None)), sort_keys=True).encode())
    return digest.hexdigest()


@cache
def source_digest() -> str:
    """Return the SHA-256 over the source that results depend on: the core, the policies and the simulator."""
    digest = hashlib.sha256()
    root = Path(astraea.__file__).parent
    for file in _files(root):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in _SOURCE:
        path = root / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _read(file: Path) -> float | None:
    """Return what a cache file says, or ``None`` where it says nothing sound."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = record.get(_KEY) if isinstance(record, dict) else None
    if isinstance(value, float) and math.isfinite(value) and value > 0:
        return value
    return None


def _write(file: Path, capacity: float) -> None:
    """Put the file in place whole or not at all; a folder that cannot be written is no error."""
    part = file.with_name(f".{file.stem}-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({_KEY: capacity}), encoding="utf-8")
        part.replace(file)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
