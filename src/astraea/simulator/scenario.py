"""What is replayed: which jobs on which engine, and how they arrive.

A scenario says what a person asked for and is checked as a whole before anything runs; a :class:`JobSource` holds the
work that an engine can serve and draws the jobs of a seed from it. The same seed gives the same jobs and the same
arrivals to every policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from attrs import define, frozen

from astraea.errors import UsageError
from astraea.simulator.arrivals import as_recorded, bursty, poisson, resample
from astraea.simulator.generators import generate, workload_names
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile, engine_names, load_engine
from astraea.simulator.scaling import scaled
from astraea.simulator.trace_files import filter_jobs, load_trace
from astraea.units import us_from_seconds

__all__ = ["ARRIVALS", "JobSource", "Scenario", "check_name", "check_positive"]

ARRIVALS = ("poisson", "bursty", "recorded")
"""Arrival processes by name."""

_DEFAULT_CV = 3.0
_GENERATED_JOBS = 200
"""Jobs of a workload where no number is given: enough to see the order of the policies, quick enough to wait for."""
_ARRIVAL_SEED_OFFSET = 1_000_003
"""Sets the stream of the gaps apart from that of the jobs."""


@frozen(slots=True, kw_only=True)
class Scenario:
    """One question to the simulator. Every violation of a bound is a :class:`UsageError`."""

    trace: Path | None = None
    """A file of recorded work, or a folder of sessions; either this or ``workload``."""
    workload: str | None = None
    jobs: int | None = None
    """Jobs of one seed; by default all of a trace, 200 of a workload."""
    engine: str = "llama-8b-h100"
    """A built-in name or the path of a TOML file."""
    load: float | None = None
    """Rate of arrivals as a multiple of the capacity; 0.95 where nothing else says when jobs arrive."""
    rate_jobs_per_s: float | None = None
    agents: int | None = None
    """Closed loop: so many jobs at a time, the next one when one ends."""
    arrivals: str | None = None
    """One of :data:`ARRIVALS`; Poisson by default."""
    cv: float | None = None
    """Coefficient of variation of bursty gaps, 3 by default."""
    tool_cap_s: float | None = None
    """Tool waits longer than this are cut to it."""
    min_turns: int = 1
    """Jobs of fewer turns are left out."""
    host_ratio: float = 0.0
    """Size of the host pool as a multiple of the device pool."""
    length_scale: float = 1.0
    """Every prompt and output times this."""
    time_scale: float = 1.0
    """Every tool wait times this, after the cap."""

    def __attrs_post_init__(self) -> None:
        if (self.trace is None) == (self.workload is None):
            raise UsageError("name either a trace or a workload")
        if self.workload is not None:
            check_name("workload", self.workload, workload_names())
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"the number of jobs must be at least 1, not {self.jobs}")
        if self.min_turns < 1:
            raise UsageError(f"the least number of turns must be at least 1, not {self.min_turns}")
        for what, value in (("the host pool's ratio", self.host_ratio), ("the cap on tool waits", self.tool_cap_s)):
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{what} must be a number that is not negative, not {value!r}")
        self._check_arrivals()

    def _check_arrivals(self) -> None:
        if sum(given is not None for given in (self.load, self.rate_jobs_per_s, self.agents)) > 1:
            raise UsageError("name one of load, rate and agents")
        check_positive("the load", self.load)
        check_positive("the rate of arrivals", self.rate_jobs_per_s)
        check_positive("the coefficient of variation", self.cv)
        check_positive("the scale of lengths", self.length_scale)
        check_positive("the scale of times", self.time_scale)
        if self.agents is not None and self.agents < 1:
            raise UsageError(f"the number of agents must be at least 1, not {self.agents}")
        if self.arrivals is not None:
            check_name("arrival process", self.arrivals, ARRIVALS)
        if self.cv is not None and self.arrivals != "bursty":
            raise UsageError("a coefficient of variation is for bursty arrivals")
        if self.agents is not None and self.arrivals is not None:
            raise UsageError("a fixed number of agents leaves no room for arrivals")
        if self.arrivals == "recorded" and (self.load is not None or self.rate_jobs_per_s is not None):
            raise UsageError("recorded arrivals take neither a load nor a rate")

    @property
    def name(self) -> str:
        """The name of the workload, or of the trace's file."""
        return self.workload or Path(str(self.trace)).name

    @property
    def asked_load(self) -> float | None:
        """The load, 0.95 where nothing else says when jobs arrive; ``None`` where something else does."""
        if self.load is None and self.rate_jobs_per_s is None and self.agents is None and self.arrivals != "recorded":
            return 0.95
        return self.load

    def profile(self) -> EngineProfile:
        """Return the engine; :class:`UsageError` where there is none of that name."""
        if not self.engine.endswith(".toml"):
            check_name("engine", self.engine, engine_names(), otherwise=", or give the path of a .toml file")
        return load_engine(self.engine)

    def arrive(self, jobs: list[JobSpec], rate_jobs_per_s: float | None, seed: int) -> list[JobSpec]:
        """Return the jobs with their arrivals, in order; a closed loop arrives all at once and is admitted in turn."""
        if self.arrivals == "recorded":
            return as_recorded(jobs)
        if rate_jobs_per_s is None:
            return poisson(jobs, 1.0, seed + _ARRIVAL_SEED_OFFSET)
        if self.arrivals == "bursty":
            cv = _DEFAULT_CV if self.cv is None else self.cv
            return bursty(jobs, rate_jobs_per_s, seed + _ARRIVAL_SEED_OFFSET, cv)
        return poisson(jobs, rate_jobs_per_s, seed + _ARRIVAL_SEED_OFFSET)


@define(slots=True)
class JobSource:
    """The jobs of a scenario that its engine can serve; counts in ``notes`` what is left out."""

    scenario: Scenario
    profile: EngineProfile
    notes: list[str]
    """Sentences for the person who asked, one a fact."""
    _trace: list[JobSpec] | None = None

    def draw(self, seed: int) -> list[JobSpec]:
        """Return the jobs of a seed, without arrivals unless recorded ones are asked for.

        Raises :class:`UsageError` where no job is left or the trace cannot be read, and
        :class:`~astraea.errors.TraceError` where a line of it is malformed.
        """
        scenario = self.scenario
        if scenario.workload is not None:
            jobs = generate(scenario.workload, scenario.jobs or _GENERATED_JOBS, seed)
            return self._served(jobs, f" with seed {seed}")
        if self._trace is None:
            assert scenario.trace is not None
            self._trace = self._served(load_trace(scenario.trace), "")
        if scenario.arrivals == "recorded":
            return as_recorded(self._trace)[: scenario.jobs]
        return resample(self._trace, scenario.jobs or len(self._trace), seed)

    def _served(self, jobs: list[JobSpec], when: str) -> list[JobSpec]:
        """Leave out what is too large or too short, and say so."""
        scenario, block = self.scenario, self.profile.block_tokens
        tokens_max = min(self.profile.pool_tokens // block * block, self.profile.context_tokens_max)
        cap_us = None if scenario.tool_cap_s is None else us_from_seconds(scenario.tool_cap_s * scenario.time_scale)
        if (scenario.length_scale, scenario.time_scale) != (1.0, 1.0):
            jobs = [scaled(job, scenario.length_scale, scenario.time_scale) for job in jobs]
        fitting, large = filter_jobs(jobs, tokens_max=tokens_max)
        kept, short = filter_jobs(fitting, tokens_max=tokens_max, min_turns=scenario.min_turns, tool_cap_us=cap_us)
        why = []
        if large:
            why.append(f"{large:,} longer than the {tokens_max:,} tokens that {self.profile.name} serves")
        if short:
            why.append(f"{short:,} of fewer than {scenario.min_turns} turns")
        if not kept:
            raise UsageError(f"{scenario.name}: none of the {len(jobs):,} jobs is left ({' and '.join(why)})")
        if why:
            self.notes.append(f"{len(jobs) - len(kept):,} of {len(jobs):,} jobs{when} left out: {' and '.join(why)}")
        return kept


def check_name(what: str, name: str, names: Iterable[str], *, otherwise: str = "") -> None:
    """Raise :class:`UsageError`, with the closest name, unless ``name`` is one of ``names``."""
    known = list(names)
    if name in known:
        return
    close = get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise UsageError(f"unknown {what} {name!r}{hint}: name one of {', '.join(known)}{otherwise}")


def check_positive(what: str, value: float | None) -> None:
    """Raise :class:`UsageError` for a number that is given and is not above zero."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise UsageError(f"{what} must be a number above 0, not {value!r}")
