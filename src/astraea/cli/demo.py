"""``astraea demo``: the same agents on the same server under two policies, with nothing to set up before."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from astraea.cli.agents import LengthScale, TimeScale, Workload, check_sdk
from astraea.cli.models import Model, tell
from astraea.cli.progress import progress_bar
from astraea.cli.server_process import running_server
from astraea.errors import UsageError
from astraea.simulator.experiment import check_policies
from astraea.simulator.scenario import Scenario

__all__ = ["demo_command"]

_SERVER, _WORK, _OUTPUT = "Server", "Work", "Output"
_QUESTION = "Why is the sky blue? Answer in one sentence."


def demo_command(
    *,
    model: Model = "default",
    policy: Annotated[
        str, typer.Option(help="Names with commas between; see: astraea policies.", rich_help_panel=_SERVER)
    ] = "fcfs,astraea",
    kv_tokens: Annotated[
        int, typer.Option(help="Tokens of KV cache: fewer than the agents would like.", rich_help_panel=_SERVER)
    ] = 3_072,
    n: Annotated[int, typer.Option("--n", "-n", help="Agents at a time.", rich_help_panel=_WORK)] = 8,
    workload: Workload = "swebench",
    jobs: Annotated[int, typer.Option(help="Jobs of one run.", rich_help_panel=_WORK)] = 12,
    seed: Annotated[int, typer.Option(help="Of the jobs.", rich_help_panel=_WORK)] = 0,
    length_scale: LengthScale = 0.01,
    time_scale: TimeScale = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Start a server, let a fleet of agents work against it, and do it again under another policy.

    All runs have the same jobs, and a server of their own that starts empty.
    """
    check_sdk()
    scenario = Scenario(workload=workload, agents=n, jobs=jobs, length_scale=length_scale, time_scale=time_scale)
    policies = check_policies([name.strip() for name in policy.split(",") if name.strip()])
    if kv_tokens < 1:
        raise UsageError(f"the number of KV tokens must be at least 1, not {kv_tokens}")
    from astraea.cli.fleet_report import fleet_title, print_fleets
    from astraea.fleet.results import FleetVerdict
    from astraea.fleet.run import Fleet, ask_once

    verdicts: list[FleetVerdict] = []
    for name in policies:
        tell(f"starting a server: astraea-serve --model {model} --policy {name} --kv-tokens {kv_tokens}")
        with running_server(["--model", model, "--policy", name, "--kv-tokens", str(kv_tokens)]) as url:
            if not verdicts and not as_json:
                print(f"{_QUESTION}\n  {ask_once(url, _QUESTION)}\n")
            fleet = Fleet(url=url, scenario=scenario, seed=seed)
            notes: list[str] = []
            with progress_bar(wanted=not as_json) as on_progress:
                verdicts.append(fleet.run(name, notes, on_progress))
    for note in notes:
        print(f"astraea: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps({"model": model, "workload": workload, "policies": [v.as_json() for v in verdicts]}, indent=2))
    else:
        print_fleets(fleet_title(scenario, f"{model} ({kv_tokens:,} KV tokens)"), scenario, verdicts)
    errors = [verdict.first_error for verdict in verdicts if verdict.failed]
    if errors:
        print(f"astraea: {sum(verdict.failed for verdict in verdicts)} jobs failed: {errors[0]}", file=sys.stderr)
        raise typer.Exit(1)
