"""The evaluation behind the headline: four workloads, three loads, with and without a host pool, against thresholds.

    python benchmarks/headline.py [--traces DIR] [--out DIR] [--only a,b] [--loads 0.95,1.1+host4] [--policies a,b]

Prints a markdown table of ratios with what was met, and writes it with all figures as JSON beside the results. Every
run is kept in the folder of results under a name made of its content, the source of the scheduler and the simulator
included: a call that was cut short goes on where it stopped, and a changed policy is run anew. Exit code 1: a threshold
is not met. All of it takes some hours on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from attrs import asdict, evolve, frozen

from astraea.errors import UsageError
from astraea.simulator.capacity import cache_folder, capacity_jobs_per_s, content_key
from astraea.simulator.experiment import check_policies
from astraea.simulator.parallel import RunRequest, default_workers, run_all
from astraea.simulator.scenario import JobSource, Scenario, check_name
from astraea.simulator.verdict import PolicyVerdict, SeedVerdict, combine, judge_seed

WARMUP_SHARE = 0.1
POLICIES = ("fcfs", "job-fcfs", "job-fcfs-kept", "astraea-paper", "astraea", "srpt-oracle")
LOADS = {"0.5": (0.5, 0.0), "0.95": (0.95, 0.0), "1.1": (1.1, 0.0), "1.1+host4": (1.1, 4.0)}
"""Load and host ratio by name."""
BEST = "the best"
THRESHOLDS = {
    "0.5": [("mean_jct_s", BEST, 1.02)],
    "0.95": [
        ("mean_jct_s", "fcfs", 0.30),
        ("mean_jct_s", "astraea-paper", 0.92),
        ("mean_jct_s", "srpt-oracle", 1.20),
        ("p99_jct_s", "fcfs", 1.00),
    ],
    "1.1": [("mean_jct_s", "fcfs", 0.25), ("mean_jct_s", "astraea-paper", 0.65), ("p99_jct_s", "fcfs", 1.00)],
    "1.1+host4": [("mean_jct_s", "astraea-paper", 1.02)],
}
"""Most that a figure of ``astraea`` may be of the same figure of another policy, by load."""


@frozen
class Run:
    """One run to make or to look up."""

    scenario: Scenario
    policy: str
    seed: int
    rate_jobs_per_s: float


def scenarios(traces: Path | None) -> dict[str, Scenario]:
    """Return the workloads by name; those whose trace is not there are left out with a sentence."""
    found = {
        "bfcl": Scenario(workload="bfcl", jobs=600),
        "infercept-mix": Scenario(workload="infercept-mix", engine="gptj-6b-a100", jobs=2_500),
    }
    for name, min_turns, tool_cap_s in (("swebench.jsonl", 1, None), ("coding_requests.jsonl", 2, 120.0)):
        if traces is not None and (traces / name).is_file():
            found[name] = Scenario(trace=traces / name, jobs=600, min_turns=min_turns, tool_cap_s=tool_cap_s)
        else:
            why = f"it is not in {traces}" if traces is not None else "--traces does not say where it is"
            print(f"{name} is skipped: {why}", file=sys.stderr)
    return found


def capacity_of(scenario: Scenario) -> float:
    """Return the capacity for the jobs of seed 0 (in a process of its own)."""
    profile = scenario.profile()
    return capacity_jobs_per_s(JobSource(scenario, profile, []).draw(0), profile, host_ratio=scenario.host_ratio)


def make(run: Run, folder: Path) -> tuple[SeedVerdict, bool]:
    """Return a run's verdict, and whether it was known already (in a process of its own)."""
    profile = run.scenario.profile()
    jobs = run.scenario.arrive(JobSource(run.scenario, profile, []).draw(run.seed), run.rate_jobs_per_s, run.seed)
    about = f"{content_key(jobs, profile, host_ratio=run.scenario.host_ratio)} {run.policy} {run.rate_jobs_per_s!r}"
    file = folder / f"{run.policy}-{hashlib.sha256(f'{about} {WARMUP_SHARE}'.encode()).hexdigest()[:24]}.json"
    try:
        return SeedVerdict(**json.loads(file.read_text(encoding="utf-8"))), True
    except (OSError, ValueError, TypeError):
        pass  # not there, or not whole: made anew
    request = RunRequest(
        policy=run.policy, seed=run.seed, jobs=tuple(jobs), profile=profile, host_ratio=run.scenario.host_ratio
    )
    verdict = judge_seed(run_all([request])[0], run.seed, WARMUP_SHARE)
    part = file.with_name(f".{file.name}-{os.getpid()}")
    part.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
    part.replace(file)
    return verdict, False


def evaluate(options: argparse.Namespace) -> dict[str, dict[str, dict[str, PolicyVerdict]]]:
    """Return the verdicts by workload, load and policy."""
    folder = options.out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {name: scenario for name, scenario in scenarios(options.traces).items() if name in options.only}
    cells = {
        (name, load): evolve(scenario, jobs=options.jobs or scenario.jobs, host_ratio=LOADS[load][1])
        for name, scenario in chosen.items()
        for load in options.loads
    }
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        distinct = list(dict.fromkeys(cells.values()))
        known = dict(zip(distinct, pool.map(capacity_of, distinct), strict=True))
        runs = {
            pool.submit(make, Run(scenario, policy, seed, known[scenario] * LOADS[load][0]), folder): (
                name, load, policy, seed,
            )
            for (name, load), scenario in cells.items()
            for seed in range(options.seeds)
            for policy in options.policies
        }  # fmt: skip
        verdicts = {}
        for done, future in enumerate(as_completed(runs), start=1):
            verdict, was_known = future.result()
            verdicts[runs[future]] = verdict
            how = "known" if was_known else f"mean JCT {verdict.mean_jct_s:,.1f} s"
            what = " ".join(map(str, runs[future]))
            print(f"[{time.monotonic() - began:6.0f} s] {done}/{len(runs)} {what}: {how}", file=sys.stderr)
    return {
        name: {
            load: {
                policy: combine(policy, [verdicts[name, load, policy, seed] for seed in range(options.seeds)])
                for policy in options.policies
            }
            for load in options.loads
        }
        for name in chosen
    }


def ratios(results: dict[str, dict[str, dict[str, PolicyVerdict]]]) -> Iterator[dict[str, object]]:
    """Yield each threshold whose policies were run, with the ratio that was found."""
    for workload, by_load in results.items():
        for load, by_policy in by_load.items():
            for figure, rival, most in THRESHOLDS[load]:
                other = rival
                if rival == BEST:
                    other = min(by_policy, key=lambda policy: getattr(by_policy[policy], figure))
                if "astraea" not in by_policy or other not in by_policy:
                    continue
                own, others = getattr(by_policy["astraea"], figure), getattr(by_policy[other], figure)
                told = f"{rival} ({other})" if rival == BEST else rival
                ratio = round(own / others, 4)
                yield {
                    "workload": workload, "load": load, "figure": figure, "rival": told, "astraea_s": own,
                    "rival_s": others, "ratio": ratio, "at_most": most, "met": ratio <= most,
                }  # fmt: skip


def markdown(rows: list[dict[str, object]]) -> str:
    """Return the ratios as a table."""
    lines = [
        "| workload | load | figure | astraea, s | against | s | ratio | at most | |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        figure = str(row["figure"]).removesuffix("_jct_s") + " JCT"
        numbers = f"{row['astraea_s']:,.1f} | {row['rival']} | {row['rival_s']:,.1f} | {row['ratio']:.3f}"
        verdict = "met" if row["met"] else "**not met**"
        lines.append(f"| {row['workload']} | {row['load']} | {figure} | {numbers} | {row['at_most']:.2f} | {verdict} |")
    return "\n".join(lines)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; :class:`UsageError` for an unknown name."""

    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    workloads = ["swebench.jsonl", "coding_requests.jsonl", "bfcl", "infercept-mix"]
    parser = argparse.ArgumentParser(description="Measure the headline and judge it.")
    parser.add_argument("--traces", type=Path, help="folder with swebench.jsonl and coding_requests.jsonl")
    parser.add_argument("--out", type=Path, default=cache_folder() / "headline", help="folder of results")
    parser.add_argument("--only", type=names, default=workloads, help="workloads, with commas between")
    parser.add_argument("--loads", type=names, default=list(LOADS), help=f"of {', '.join(LOADS)}")
    parser.add_argument("--policies", type=names, default=list(POLICIES), help="with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="for a quick look; by default 600, of infercept-mix 2,500")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    for name in options.only:
        check_name("workload", name, workloads)
    for name in options.loads:
        check_name("load", name, LOADS)
    options.policies = list(check_policies(options.policies))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print and judge."""
    try:
        options = parsed(arguments)
    except UsageError as error:
        print(f"headline: {error}", file=sys.stderr)
        return 2
    results = evaluate(options)
    rows = list(ratios(results))
    figures = {
        workload: {load: [verdict.as_json() for verdict in by_policy.values()] for load, by_policy in by_load.items()}
        for workload, by_load in results.items()
    }
    text = json.dumps({"jobs": options.jobs, "seeds": options.seeds, "ratios": rows, "figures": figures}, indent=2)
    (options.out / "headline.json").write_text(text + "\n", encoding="utf-8")
    (options.out / "headline.md").write_text(markdown(rows) + "\n", encoding="utf-8")
    print(text if options.json else markdown(rows))
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
