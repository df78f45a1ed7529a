"""Real agents under memory pressure: the mean completion time of ``astraea`` beside that of ``fcfs``, measured.

The recipe, which is fixed before anything is measured:

* work: ``swebench`` with lengths x 0.02 and tool waits, cut to 10 s, x 0.5; jobs of over 2,304 tokens are left out;
* working set: 24 agents at their mean context;
* pool: 0.25, 0.5 and 1.0 of the working set, no host pool;
* load: 0.9 of the capacity, as ``astraea simulate --load`` defines it, on a profile that is calibrated first;
* each seed draws jobs and arrivals; both policies run on them one after the other, in alternating order.

Prints for each pool the reduction by the geometric mean of the paired ratios, with its 95 % interval. ``fcfs`` keeps up
or collapses by chance of the arrivals, so the interval is wide for few seeds.

    python benchmarks/executor_pressure.py --model toy --jobs 100 --seeds 5 --shares 0.5
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
from astraea.cli.real_experiment import RealExperiment
from astraea.executor.model import LoadedModel, load_model
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.scenario import JobSource, Scenario

ARMS = ("fcfs", "astraea")
AGENTS_OF_THE_WORKING_SET = 24
CONTEXT_TOKENS_MAX = 2_304
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Of Student's t at 97.5 %, for 1 degree of freedom on."""


def main() -> None:
    """Print a line a run and a line a pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5, help="2 to 10")
    parser.add_argument("--shares", default="0.5,0.25,1.0", help="pools as shares of the working set")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to calibrate")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(options.model)
    draft = evolve(draft_profile(loaded), pool_tokens=32_768, context_tokens_max=CONTEXT_TOKENS_MAX)
    calibration = calibrate(loaded, draft, seconds=options.seconds, seed=0)
    print(f"{calibration.profile.source}", flush=True)
    scenario = Scenario(
        workload="swebench", jobs=options.jobs, load=0.9, length_scale=0.02, time_scale=0.5, tool_cap_s=10.0
    )
    working_set = AGENTS_OF_THE_WORKING_SET * mean_context(scenario, calibration.profile)
    for share in (float(text) for text in options.shares.split(",")):
        pool = max(CONTEXT_TOKENS_MAX, int(share * working_set) // draft.block_tokens * draft.block_tokens)
        compare(loaded, scenario, evolve(calibration.profile, pool_tokens=pool), share, options.seeds)


def mean_context(scenario: Scenario, profile: EngineProfile) -> float:
    """Return the mean over the jobs of their mean context, output included."""
    jobs = JobSource(scenario, profile, []).draw(0)
    return fmean(fmean(turn.context_tokens + turn.output_tokens for turn in job.turns) for job in jobs)


def compare(loaded: LoadedModel, scenario: Scenario, profile: EngineProfile, share: float, seeds: int) -> None:
    """Run both arms on each seed and print what they came to."""
    means: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        with TemporaryDirectory() as folder:
            experiment = RealExperiment(loaded, scenario, profile)
            arms = ARMS if seed % 2 == 0 else ARMS[::-1]
            for verdict in experiment.run(arms, [seed], Path(folder), None):
                means[verdict.policy].append(verdict.mean.mean_jct_s)
                print(
                    f"pool {share:g} ({profile.pool_tokens:,} tokens), seed {seed}, {verdict.policy}: mean JCT "
                    f"{verdict.mean.mean_jct_s:.2f} s (predicted {verdict.mean.predicted_jct_s:.2f} s), "
                    f"recomputed {verdict.mean.recomputed_share:.0%}",
                    flush=True,
                )
    fcfs, own = (means[arm] for arm in ARMS)
    logs = [math.log(mine / theirs) for mine, theirs in zip(own, fcfs, strict=True)]
    half = T_QUANTILES[seeds - 2] * stdev(logs) / math.sqrt(seeds)
    least, most = (1 - math.exp(fmean(logs) + side) for side in (half, -half))
    print(
        f"pool {share:g}: fcfs {fmean(fcfs):.2f} s, astraea {fmean(own):.2f} s; {1 - math.exp(fmean(logs)):.1%} less "
        f"by the geometric mean of {seeds} ratios, 95 % interval {least:.1%} to {most:.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
