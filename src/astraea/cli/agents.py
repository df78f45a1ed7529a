"""``astraea agents``: a fleet of agents against a server, with the OpenAI SDK, and how long their jobs took."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from astraea.cli.progress import progress_bar
from astraea.errors import UsageError
from astraea.simulator.scenario import Scenario

__all__ = ["Key", "LengthScale", "TimeScale", "Workload", "agents_command", "api_key", "check_sdk"]

_SERVER, _WORK, _OUTPUT = "Server", "Work", "Output"
_JOBS_OF_AN_AGENT = 4
_KEY_VARIABLES = ("ASTRAEA_API_KEY", "OPENAI_API_KEY")

Workload = Annotated[str, typer.Option(help="Work by name; see: astraea workloads.", rich_help_panel=_WORK)]
LengthScale = Annotated[float, typer.Option(help="Multiply every prompt and output by this.", rich_help_panel=_WORK)]
TimeScale = Annotated[float, typer.Option(help="Multiply every tool wait by this.", rich_help_panel=_WORK)]
Key = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        help=f"File with the server's key; else {' or '.join(_KEY_VARIABLES)} is read, if set.",
        rich_help_panel=_SERVER,
    ),
]


def api_key(file: Path | None) -> str | None:
    """Return the key to show, from the file or the environment, ``None`` for none: a command line can be read by all.

    Raises :class:`UsageError` for a file that cannot be read.
    """
    if file is None:
        return next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), None)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the key in {file} cannot be read: {error}") from None


def agents_command(
    *,
    url: Annotated[str, typer.Option(help="Where the server is.", rich_help_panel=_SERVER)] = "http://127.0.0.1:8000",
    model: Annotated[
        str | None, typer.Option(help="By default the first that the server lists.", rich_help_panel=_SERVER)
    ] = None,
    api_key_file: Key = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Agents at a time.", rich_help_panel=_WORK)] = 32,
    workload: Workload = "calculator",
    jobs: Annotated[
        int | None, typer.Option(help=f"Jobs; by default {_JOBS_OF_AN_AGENT} an agent.", rich_help_panel=_WORK)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the jobs.", rich_help_panel=_WORK)] = 0,
    length_scale: LengthScale = 1.0,
    time_scale: TimeScale = 1.0,
    anonymous: Annotated[
        bool,
        typer.Option("--anonymous", help="Send no session id, as clients that know of none.", rich_help_panel=_WORK),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Let agents work against an OpenAI-compatible server, and see their job completion times.

    Turns, lengths and tool waits are the workload's, whatever the model says. The tools are programs that run: a
    calculator, a search in files, a fetch from a page of our own; what is left of a tool's wait is slept. It ends with
    1 where a job failed.

    Try it: [bold]astraea-serve --model toy[/bold], and beside it [bold]astraea agents --n 8 --length-scale 0.2[/bold]
    """
    scenario = Scenario(
        workload=workload, agents=n, jobs=jobs or _JOBS_OF_AN_AGENT * n, length_scale=length_scale,
        time_scale=time_scale,
    )  # fmt: skip
    check_sdk()
    from astraea.cli.fleet_report import fleet_title, print_fleets
    from astraea.fleet.run import Fleet

    fleet = Fleet(
        url=url, scenario=scenario, seed=seed, model=model, key=api_key(api_key_file), is_anonymous=anonymous
    )  # fmt: skip
    notes: list[str] = []
    with progress_bar(wanted=not as_json) as on_progress:
        verdict = fleet.run("agents", notes, on_progress)
    for note in notes:
        print(f"astraea: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps({"url": url, "workload": workload, "agents": n, **verdict.as_json()}, indent=2))
    else:
        print_fleets(fleet_title(scenario, url), scenario, [verdict])
    if verdict.failed:
        print(f"astraea: {verdict.failed} of {verdict.jobs} jobs failed: {verdict.first_error}", file=sys.stderr)
        raise typer.Exit(1)


def check_sdk() -> None:
    """Raise :class:`UsageError` where the SDK that the agents use is not installed."""
    if find_spec("openai") is None:
        raise UsageError('the agents need the OpenAI SDK: pip install "astraea[agents]"')
