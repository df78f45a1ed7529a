"""One scenario on a real model under several policies and seeds, each run beside its simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import Factory, define

from astraea.cli.calibration import Calibration, calibrate, draft_profile, sized
from astraea.cli.models import tell
from astraea.cli.real_agents import RealRun
from astraea.cli.real_report import RealVerdict, SeedFigures, combined, judge_real
from astraea.errors import UsageError
from astraea.executor.measuring import warm_up
from astraea.executor.model import LoadedModel
from astraea.simulator.capacity import capacity_jobs_per_s
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.experiment import Progress, record_file
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile, load_engine
from astraea.simulator.scenario import JobSource, Scenario

__all__ = ["RealExperiment", "profile_for"]


def profile_for(
    loaded: LoadedModel, engine: Path | None, sizes: Mapping[str, int | None], seconds: float
) -> tuple[EngineProfile, Calibration | None]:
    """Return the profile in the file ``engine``, or one that is measured now; with the sizes that were asked for."""
    if engine is not None:
        return sized(load_engine(str(engine)), loaded, sizes), None
    draft = sized(draft_profile(loaded), loaded, sizes)
    tell(f"measuring {loaded.note} for about {seconds:g} s")
    calibration = calibrate(loaded, draft, seconds=seconds, seed=0)
    return calibration.profile, calibration


@define(eq=False)
class RealExperiment:
    """A scenario, the model that it runs on, and the profile by which it is predicted."""

    loaded: LoadedModel
    scenario: Scenario
    profile: EngineProfile
    notes: list[str] = Factory(list)
    """Sentences about jobs that were left out."""
    rate_jobs_per_s: float | None = None
    """Of an open loop, once it ran."""

    def run(
        self, policies: Sequence[str], seeds: Sequence[int], folder: Path, on_progress: Progress | None
    ) -> list[RealVerdict]:
        """Run every policy on the same jobs, seed after seed and the policies in turn; traces go to ``folder``.

        Raises :class:`UsageError` for what cannot be carried out.
        """
        source = JobSource(self.scenario, self.profile, self.notes)
        drawn = [source.draw(seed) for seed in seeds]
        self.rate_jobs_per_s = self._rate(drawn[0])
        warm_up(self.loaded)
        total = sum(map(len, drawn)) * len(policies)
        found: dict[str, list[SeedFigures]] = {policy: [] for policy in policies}
        done = 0
        for seed, jobs in zip(seeds, drawn, strict=True):
            arrived = self.scenario.arrive(jobs, self.rate_jobs_per_s, seed)
            for policy in policies:
                before = done

                def tell_jobs(ended: int, _jobs: int, before: int = before) -> None:
                    if on_progress is not None:
                        on_progress("policies", before + ended, total)

                trace = record_file(folder, self.scenario, policy, seed)
                limits = limits_for(self.profile, self.scenario.host_ratio)
                run = RealRun(self.loaded, arrived, self.profile, limits, policy=policy, record=trace)
                results = run.run(self.scenario.agents, tell_jobs)
                predicted = simulate(
                    arrived, self.profile, policy, agents=self.scenario.agents, host_ratio=self.scenario.host_ratio
                )
                found[policy].append(judge_real(seed, arrived, results, trace, predicted))
                done += len(jobs)
        return [combined(policy, figures) for policy, figures in found.items()]

    def _rate(self, jobs: list[JobSpec]) -> float | None:
        """Return the rate of arrivals: as asked, or a multiple of what the simulator says the engine can serve."""
        if self.scenario.load is None:
            return self.scenario.rate_jobs_per_s
        capacity = capacity_jobs_per_s(jobs, self.profile, host_ratio=self.scenario.host_ratio)
        if not capacity:
            raise UsageError("the capacity is not known: ask for a rate instead")
        return capacity * self.scenario.load

    @property
    def title(self) -> str:
        """What ran on what."""
        scenario = self.scenario
        how = f"closed loop of {scenario.agents} agents"
        if scenario.agents is None:
            how = f"Poisson arrivals at {self.rate_jobs_per_s:.4g} jobs/s"
        return f"{scenario.name} on {self.loaded.note}; {how}"

    @property
    def caption(self) -> str:
        """What has to be known to read the figures."""
        scenario, profile = self.scenario, self.profile
        scales = f"lengths x {scenario.length_scale:g}, tool waits x {scenario.time_scale:g}"
        pools = f"{profile.pool_tokens:,} KV tokens on the device"
        if scenario.host_ratio:
            pools += f" and {scenario.host_ratio:g} x that on the host"
        return (
            f"JCT: from a job's arrival to its last token, tool waits included. {scales}; {pools}.\n"
            f"Predicted: the simulator on the profile {profile.name}. {profile.source}"
        )

    def as_json(self, verdicts: Sequence[RealVerdict]) -> dict[str, object]:
        """Return what ``astraea run --json`` prints."""
        return {
            "model": self.loaded.name,
            "note": self.loaded.note,
            "engine": self.profile.name,
            "workload": self.scenario.name,
            "agents": self.scenario.agents,
            "rate_jobs_per_s": self.rate_jobs_per_s,
            "length_scale": self.scenario.length_scale,
            "time_scale": self.scenario.time_scale,
            "pool_tokens": self.profile.pool_tokens,
            "policies": [verdict.as_json() for verdict in verdicts],
        }
