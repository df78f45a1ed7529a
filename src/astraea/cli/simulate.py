"""``astraea simulate``: replay agent work under several policies and compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from astraea.cli.plots import check_plot_path, save_plot
from astraea.cli.progress import progress_bar
from astraea.cli.sustain import run_sustain
from astraea.cli.tables import print_report
from astraea.errors import UsageError
from astraea.simulator.experiment import DEFAULT_POLICIES, run_experiment
from astraea.simulator.scenario import Scenario

__all__ = ["simulate_command"]

_WORK, _ARRIVAL, _MACHINE, _RUN, _OUTPUT = "Work", "Arrivals (one of the first three)", "Engine", "Runs", "Output"


def simulate_command(
    *,
    trace: Annotated[
        Path | None, typer.Option(help="Recorded work: a file, or a folder of sessions.", rich_help_panel=_WORK)
    ] = None,
    workload: Annotated[
        str | None, typer.Option(help="Generated work by name; see: astraea workloads.", rich_help_panel=_WORK)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Jobs of one seed; by default all of a trace, 200 of a workload.", rich_help_panel=_WORK),
    ] = None,
    min_turns: Annotated[int, typer.Option(help="Leave out jobs of fewer turns.", rich_help_panel=_WORK)] = 1,
    tool_cap_s: Annotated[
        float | None, typer.Option(help="Cut longer tool waits to so many seconds.", rich_help_panel=_WORK)
    ] = None,
    length_scale: Annotated[
        float, typer.Option(help="Multiply every prompt and output by this.", rich_help_panel=_WORK)
    ] = 1.0,
    time_scale: Annotated[float, typer.Option(help="Multiply every tool wait by this.", rich_help_panel=_WORK)] = 1.0,
    load: Annotated[
        float | None,
        typer.Option(help="Rate as a multiple of the capacity; 0.95 by default.", rich_help_panel=_ARRIVAL),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Jobs per second.", rich_help_panel=_ARRIVAL)] = None,
    agents: Annotated[
        int | None, typer.Option(help="Closed loop: so many jobs at a time.", rich_help_panel=_ARRIVAL)
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(help="poisson (by default), bursty or recorded.", rich_help_panel=_ARRIVAL)
    ] = None,
    cv: Annotated[
        float | None,
        typer.Option(help="Coefficient of variation of bursty gaps; 3 by default.", rich_help_panel=_ARRIVAL),
    ] = None,
    sustain: Annotated[
        float | None,
        typer.Option(
            help="Search instead: the highest rate with a mean slowdown of at most this.", rich_help_panel=_ARRIVAL
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Name, see: astraea engines; or a TOML file of your own.", rich_help_panel=_MACHINE)
    ] = "llama-8b-h100",
    host_kv: Annotated[
        float, typer.Option(help="Host pool as a multiple of the device pool.", rich_help_panel=_MACHINE)
    ] = 0.0,
    policy: Annotated[
        str, typer.Option(help="Names with commas between; see: astraea policies.", rich_help_panel=_RUN)
    ] = ",".join(DEFAULT_POLICIES),
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this less one; figures are means.", rich_help_panel=_RUN)] = 1,
    warmup_share: Annotated[
        float, typer.Option(help="Share of the jobs, first by arrival, not to count.", rich_help_panel=_RUN)
    ] = 0.1,
    workers: Annotated[
        int | None, typer.Option(help="Processes side by side; by default one a core.", rich_help_panel=_RUN)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the comparison to this file (PNG, SVG or PDF).", rich_help_panel=_OUTPUT)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Folder for one trace a policy and seed; see: astraea check.", rich_help_panel=_OUTPUT),
    ] = None,
) -> None:
    """Replay agent work through the scheduler, and see job completion times beside other policies.

    A job completion time (JCT) runs from a job's arrival to its last token, tool waits included. A load of 1 is the
    throughput that the engine reaches with all jobs present at once, in order of arrival.

    Try it: [bold]astraea simulate --workload swebench[/bold]

    Your own work: [bold]astraea simulate --trace work.jsonl --jobs 600 --seeds 3 --plot out.png[/bold]

    Overload: [bold]astraea simulate --workload bfcl --load 1.1 --policy fcfs,astraea --json[/bold]

    64 agents: [bold]astraea simulate --workload infercept-mix --engine gptj-6b-a100 --agents 64[/bold]

    How much can it take: [bold]astraea simulate --workload bfcl --sustain 2.0 --policy fcfs,astraea[/bold]
    """
    scenario = Scenario(
        trace=trace, workload=workload, jobs=jobs, engine=engine, load=load, rate_jobs_per_s=rate, agents=agents,
        arrivals=arrivals, cv=cv, tool_cap_s=tool_cap_s, min_turns=min_turns, host_ratio=host_kv,
        length_scale=length_scale, time_scale=time_scale,
    )  # fmt: skip
    if plot is not None:
        check_plot_path(plot)
    names = [name.strip() for name in policy.split(",") if name.strip()]
    if sustain is not None:
        if plot is not None or record is not None:
            raise UsageError("a search for what is sustained makes many runs: it draws no plot and records none")
        run_sustain(
            scenario, sustain, policies=names, seeds=seeds, warmup_share=warmup_share, workers=workers, as_json=as_json
        )
        return
    with progress_bar(wanted=not as_json) as on_progress:
        report = run_experiment(
            scenario, policies=names, seeds=seeds, warmup_share=warmup_share, workers=workers, record=record,
            on_progress=on_progress,
        )  # fmt: skip
    for note in report.notes:
        print(f"astraea: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print_report(report)
    if plot is not None:
        save_plot(report, plot)
    if record is not None:
        print(f"astraea: traces are in {record}", file=sys.stderr)
