"""``astraea run``: real agents on a real model, and what the simulator predicts for them."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from astraea.cli.models import (
    BatchTurns,
    BlockTokens,
    ContextTokens,
    Device,
    Dtype,
    Model,
    PoolTokens,
    StepTokens,
    Threads,
    load,
)
from astraea.cli.progress import progress_bar
from astraea.errors import UsageError
from astraea.simulator.experiment import check_policies
from astraea.simulator.scenario import Scenario, check_positive

__all__ = ["run_command"]

_WORK, _ARRIVAL, _RUN, _OUTPUT = "Work", "Arrivals (one of the three)", "Runs", "Output"
_JOBS_OF_AN_AGENT = 4


def run_command(
    *,
    model: Model = "default",
    device: Device = "cpu",
    dtype: Dtype = None,
    threads: Threads = None,
    workload: Annotated[
        str | None, typer.Option(help="Generated work by name; see: astraea workloads.", rich_help_panel=_WORK)
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Recorded work: a file, or a folder of sessions.", rich_help_panel=_WORK)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help=f"Jobs of one seed; by default {_JOBS_OF_AN_AGENT} an agent.", rich_help_panel=_WORK),
    ] = None,
    length_scale: Annotated[
        float, typer.Option(help="Multiply every prompt and output by this.", rich_help_panel=_WORK)
    ] = 1.0,
    time_scale: Annotated[float, typer.Option(help="Multiply every tool wait by this.", rich_help_panel=_WORK)] = 1.0,
    agents: Annotated[
        int | None, typer.Option(help="Closed loop: so many at a time; 4 by default.", rich_help_panel=_ARRIVAL)
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Poisson: jobs per second.", rich_help_panel=_ARRIVAL)] = None,
    load_factor: Annotated[
        float | None,
        typer.Option("--load", help="Poisson: a multiple of the simulated capacity.", rich_help_panel=_ARRIVAL),
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(help="Profile that astraea calibrate wrote; measured first without one.", rich_help_panel=_RUN),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure it.", rich_help_panel=_RUN)] = 30.0,
    pool_tokens: PoolTokens = None,
    context_tokens: ContextTokens = None,
    step_tokens: StepTokens = None,
    batch_turns: BatchTurns = None,
    block_tokens: BlockTokens = None,
    host_kv: Annotated[
        float, typer.Option(help="Host pool as a multiple of the device pool.", rich_help_panel=_RUN)
    ] = 0.0,
    policy: Annotated[
        str, typer.Option(help="Names with commas between; see: astraea policies.", rich_help_panel=_RUN)
    ] = "fcfs,astraea",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this less one, policies in turn.", rich_help_panel=_RUN)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)] = False,
    record: Annotated[
        Path | None, typer.Option(help="Folder for one trace a policy and seed.", rich_help_panel=_OUTPUT)
    ] = None,
) -> None:
    """Let agents work on a real model, and see completion times beside what the simulator predicts for them.

    Prompts are random tokens of the workload's lengths, answers end at the workload's lengths, and tool waits are
    slept. Each run is recorded and checked against the claims; with --record the traces are kept.

    Try it: [bold]astraea run --model toy --workload calculator --agents 8 --length-scale 0.5[/bold]

    Under pressure: [bold]astraea run --workload swebench --length-scale 0.02 --time-scale 0.1 --pool-tokens 4096[/bold]
    """
    if seeds < 1:
        raise UsageError(f"the number of seeds must be at least 1, not {seeds}")
    policies = check_policies([name.strip() for name in policy.split(",") if name.strip()])
    if agents is None and rate is None and load_factor is None:
        agents = 4
    scenario = Scenario(
        workload=workload, trace=trace, jobs=jobs or (agents * _JOBS_OF_AN_AGENT if agents else None), agents=agents,
        rate_jobs_per_s=rate, load=load_factor, host_ratio=host_kv, length_scale=length_scale, time_scale=time_scale,
    )  # fmt: skip
    check_positive("the time to measure", seconds)
    loaded = load(model, device, dtype, threads)
    sizes = {
        "pool_tokens": pool_tokens, "context_tokens_max": context_tokens, "step_tokens_max": step_tokens,
        "batch_turns_max": batch_turns, "block_tokens": block_tokens,
    }  # fmt: skip
    from astraea.cli.real_experiment import RealExperiment, profile_for
    from astraea.cli.real_report import print_real

    profile, calibration = profile_for(loaded, engine, sizes, seconds)
    experiment = RealExperiment(loaded, scenario, profile)
    with tempfile.TemporaryDirectory() as folder, progress_bar(wanted=not as_json) as on_progress:
        verdicts = experiment.run(policies, range(seeds), record or Path(folder), on_progress)
    for note in experiment.notes:
        print(f"astraea: {note}", file=sys.stderr)
    if as_json:
        report = experiment.as_json(verdicts)
        report["calibration"] = None if calibration is None else calibration.as_json()
        print(json.dumps(report, indent=2))
    else:
        print_real(experiment.title, experiment.caption, verdicts)
    if record is not None:
        print(f"astraea: traces are in {record}", file=sys.stderr)
