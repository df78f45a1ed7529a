"""``astraea bench``: how long the scheduler itself takes on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from attrs import asdict

from astraea.cli.policy_cost import PICKED, QUEUE_LENGTHS, RUNNING, QueueCost, Spread, queue_cost, running_cost
from astraea.cli.tables import print_costs
from astraea.errors import UsageError

__all__ = ["bench_app", "bench_policy"]

bench_app = typer.Typer(help="Measure what the scheduler costs on this machine.")


@bench_app.command("policy")
def bench_policy(
    rounds: Annotated[int, typer.Option(help="Rounds to time, of each kind.")] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure one decide that picks 16 of many waiting turns, and one step of 256 running turns.

    Beside it, on as many entries: a full sort by response ratio and heapq.nlargest. Takes about a minute.

    Example: [bold]astraea bench policy --json[/bold]
    """
    if rounds < 1:
        raise UsageError(f"the number of rounds must be at least 1, not {rounds}")
    costs = {waiting: queue_cost(waiting, rounds) for waiting in QUEUE_LENGTHS}
    running = running_cost(rounds)
    if as_json:
        print(json.dumps(_as_json(costs, running), indent=2))
        return
    rows = []
    for waiting, cost in costs.items():
        for what, spread in (
            ("decide", cost.decide),
            ("decide, at the bound", cost.at_bound),
            ("  beside: full sort", cost.full_sort),
            ("  beside: heapq.nlargest", cost.nlargest),
        ):
            rows.append((f"pick {PICKED} of {waiting:,}: {what}", spread.p50_us, spread.p99_us))
    rows.append((f"one step of {RUNNING} running turns: handle + decide", running.p50_us, running.p99_us))
    print_costs(rows)


def _as_json(costs: Mapping[int, QueueCost], running: Spread) -> dict[str, object]:
    return {
        "pick16": {str(waiting): asdict(cost.decide) for waiting, cost in costs.items()},
        "pick16_at_bound": {str(waiting): asdict(cost.at_bound) for waiting, cost in costs.items()},
        "running256": asdict(running),
        "full_sort16": {str(waiting): asdict(cost.full_sort) for waiting, cost in costs.items()},
        "nlargest16": {str(waiting): asdict(cost.nlargest) for waiting, cost in costs.items()},
    }
