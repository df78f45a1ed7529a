"""Real agents under memory pressure: the mean completion time of ``astraea`` beside that of ``fcfs``, measured.

The recipe, which is fixed before anything is measured:

* work: ``swebench`` with lengths x 0.02; jobs of over 2,304 tokens are left out;
* working set: 12 agents at their mean context;
* pool: 0.25, 0.5 and 1.0 of the working set, no host pool;
* load: 0.9 of what ``fcfs`` sustains, which is its throughput where all jobs are there at time zero, over the middle
  80 % of the completions, as ``astraea simulate`` defines capacity; it is simulated, on a profile that is calibrated
  anew before each seed, so that it follows the speed of the machine;
* tool waits, cut to 10 s, are scaled so that at this load 12 agents are at work if none has to wait for the engine:
  then the working set is what it is called;
* each seed draws jobs, and arrivals that are Poisson given their number: as many in the time that the load says;
* both policies run on these one after the other, in alternating order.

Prints for each pool the reduction by the geometric mean of the paired ratios, with its 95 % interval. ``fcfs`` keeps up
for a while or falls behind early by chance of the arrivals, so the interval is wide for few seeds. ``--simulate`` goes
through the same recipe in the simulator alone, which takes seconds.

    python benchmarks/executor_pressure.py --model toy --jobs 120 --seeds 6 --shares 0.5
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

import torch
from attrs import evolve

from astraea.cli.calibration import calibrate, draft_profile
from astraea.cli.real_agents import RealRun
from astraea.cli.real_report import judge_real
from astraea.executor.measuring import warm_up
from astraea.executor.model import LoadedModel, load_model
from astraea.simulator.agents import stages_of
from astraea.simulator.arrivals import all_at_zero
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.scenario import JobSource, Scenario
from astraea.simulator.step_time import alone_us
from astraea.simulator.verdict import middle_throughput
from astraea.units import US_PER_S

ARMS = ("fcfs", "astraea")
LOAD = 0.9
AGENTS = 12
CONTEXT_TOKENS_MAX = 2_304
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Of Student's t at 97.5 %, for 1 degree of freedom on."""


def main() -> None:
    """Print a line a run and a line a pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy")
    parser.add_argument("--jobs", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=6, help="2 to 10")
    parser.add_argument("--shares", default="0.5,0.25,1.0", help="pools as shares of the working set")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to calibrate before each seed")
    parser.add_argument("--simulate", action="store_true", help="run nothing but the simulator")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(options.model)
    warm_up(loaded)
    for share in (float(text) for text in options.shares.split(",")):
        ratios = []
        for seed in range(options.seeds):
            profile = profile_of(loaded, options.seconds, seed)
            profile, jobs = setting(profile, options.jobs, share, seed)
            arms = ARMS if seed % 2 == 0 else ARMS[::-1]
            means = {arm: mean_jct_s(loaded, jobs, profile, arm, seed, real=not options.simulate) for arm in arms}
            ratios.append(means["astraea"] / means["fcfs"])
        summary(share, ratios)


def profile_of(loaded: LoadedModel, seconds: float, seed: int) -> EngineProfile:
    """Return the profile of the engine as it is now."""
    draft = evolve(draft_profile(loaded), pool_tokens=32_768, context_tokens_max=CONTEXT_TOKENS_MAX)
    return calibrate(loaded, draft, seconds=seconds, seed=seed).profile


def setting(profile: EngineProfile, jobs: int, share: float, seed: int) -> tuple[EngineProfile, list[JobSpec]]:
    """Return the profile with its pool, and the jobs of a seed with their tool waits and arrivals."""
    unscaled = drawn(profile, jobs, 1.0, 0)
    context = fmean(fmean(turn.context_tokens + turn.output_tokens for turn in job.turns) for job in unscaled)
    pool = max(CONTEXT_TOKENS_MAX, int(share * AGENTS * context) // profile.block_tokens * profile.block_tokens)
    profile = evolve(profile, pool_tokens=pool)
    unscaled = drawn(profile, jobs, 1.0, seed)
    rate = LOAD * middle_throughput(simulate(all_at_zero(unscaled), profile, "fcfs").jobs)
    wait_s = fmean(waited_us(job) for job in unscaled) / US_PER_S
    busy_s = fmean(alone_us(profile, job) for job in unscaled) / US_PER_S - wait_s
    time_scale = (AGENTS / rate - busy_s) / wait_s
    arrived = scenario(jobs, time_scale).arrive(drawn(profile, jobs, time_scale, seed), rate, seed)
    last_us = max(job.arrival_us or 0 for job in arrived)
    stretch = len(arrived) / rate * US_PER_S / last_us
    print(f"pool {pool:,} tokens, seed {seed}: {rate:.3f} jobs/s, tool waits x {time_scale:.2f}; {profile.source}")
    return profile, [evolve(job, arrival_us=round((job.arrival_us or 0) * stretch)) for job in arrived]


def scenario(jobs: int, time_scale: float) -> Scenario:
    """Return the work with its tool waits scaled."""
    return Scenario(
        workload="swebench", jobs=jobs, load=LOAD, length_scale=0.02, time_scale=time_scale, tool_cap_s=10.0
    )


def drawn(profile: EngineProfile, jobs: int, time_scale: float, seed: int) -> list[JobSpec]:
    """Return the jobs of a seed."""
    return list(JobSource(scenario(jobs, time_scale), profile, []).draw(seed))


def waited_us(job: JobSpec) -> int:
    """Return the tool waits on a job's way: of turns side by side the longest counts."""
    return sum(max(turn.tool_wait_us for turn in stage) for stage in stages_of(job.turns)[:-1])


def mean_jct_s(
    loaded: LoadedModel, jobs: list[JobSpec], profile: EngineProfile, arm: str, seed: int, *, real: bool
) -> float:
    """Return the mean completion time of one policy on one seed, and print it."""
    predicted = simulate(jobs, profile, arm)
    predicted_s = fmean(job.jct_us for job in predicted.jobs) / US_PER_S
    if not real:
        print(f"  {arm}: mean JCT {predicted_s:.2f} s, simulated", flush=True)
        return predicted_s
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.ndjson"
        run = RealRun(loaded, jobs, profile, limits_for(profile), policy=arm, record=trace)
        figures = judge_real(seed, jobs, run.run(None, None), trace, predicted)
    print(
        f"  {arm}: mean JCT {figures.mean_jct_s:.2f} s (predicted {predicted_s:.2f} s), "
        f"recomputed {figures.recomputed_share:.0%}", flush=True,
    )  # fmt: skip
    return figures.mean_jct_s


def summary(share: float, ratios: list[float]) -> None:
    """Print what a pool came to."""
    logs, count = [math.log(ratio) for ratio in ratios], len(ratios)
    half = T_QUANTILES[count - 2] * stdev(logs) / math.sqrt(count)
    least, most = (1 - math.exp(fmean(logs) + side) for side in (half, -half))
    print(
        f"pool {share:g} of the working set: astraea {1 - math.exp(fmean(logs)):.1%} below fcfs by the geometric mean "
        f"of {count} ratios, 95 % interval {least:.1%} to {most:.1%}", flush=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
