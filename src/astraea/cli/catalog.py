"""What there is by name: policies, engines and workloads, each with one line and the source of its numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from astraea.cli.tables import print_catalog
from astraea.policy.limits import Limits
from astraea.rivals import make_policy, policy_names
from astraea.simulator.generators import WORKLOADS, workload_names
from astraea.simulator.profiles import engine_names, load_engine

__all__ = ["engines", "policies", "workloads"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def policies(as_json: AsJson = False) -> None:
    """List the scheduling policies by name, with their sources.

    Compare some of them: [bold]astraea simulate --workload swebench --policy fcfs,astraea[/bold]
    """
    rows: list[dict[str, object]] = []
    for name in policy_names():
        policy = make_policy(name, Limits(device_blocks=1))
        row: dict[str, object] = {"name": name, "summary": policy.summary, "source": policy.source}
        rows.append({**row, "guarded": policy.guarded, "clairvoyant": policy.clairvoyant})
    footnote = (
        "Guarded: no job is passed more often than the bypass bound. Clairvoyant: reads the future, unattainable."
    )
    _print(rows, footnote, as_json=as_json)


def engines(as_json: AsJson = False) -> None:
    """List the engine profiles by name, with the sources of their constants.

    Your own: a TOML file with the same keys, [bold]astraea simulate --workload swebench --engine mine.toml[/bold]
    """
    profiles = [load_engine(name) for name in engine_names()]
    rows: list[dict[str, object]] = [
        {"name": engine.name, "summary": engine.summary, "source": engine.source} for engine in profiles
    ]
    _print(rows, "", as_json=as_json)


def workloads(as_json: AsJson = False) -> None:
    """List the generated workloads by name, with the sources of their figures.

    Replay recorded work instead: [bold]astraea simulate --trace FILE[/bold]
    """
    rows: list[dict[str, object]] = [
        {"name": name, "summary": WORKLOADS[name].summary, "source": WORKLOADS[name].source}
        for name in workload_names()
    ]
    _print(rows, "", as_json=as_json)


def _print(rows: Sequence[dict[str, object]], footnote: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_catalog(rows, footnote)
