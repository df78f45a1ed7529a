"""``astraea bench``: how long the scheduler itself takes on this machine, and how fast the executor is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import asdict

from astraea.cli.models import load, tell
from astraea.cli.policy_cost import PICKED, QUEUE_LENGTHS, RUNNING, QueueCost, Spread, queue_cost, running_cost
from astraea.cli.tables import print_catalog, print_costs
from astraea.errors import UsageError

if TYPE_CHECKING:
    from astraea.executor.speed import Race

__all__ = ["bench_app", "bench_executor", "bench_policy"]

bench_app = typer.Typer(help="Measure what the scheduler costs and how fast the executor is on this machine.")


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


@bench_app.command("executor")
def bench_executor(
    model: Annotated[
        str | None, typer.Option(help="toy, default, a folder or a name on the hub; toy and default if none is named.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds to time; the median counts.")] = 5,
    flex: Annotated[bool, typer.Option("--flex", help="Also time decode steps by compiled FlexAttention.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure tokens a second for 32 prompts x 64 new tokens, beside transformers' generate and generate_batch.

    On one thread, for prompts of equal and of ragged lengths; also how fast the KV is copied to the host beside a
    plain copy of as many bytes, and what a decode step costs as contexts grow. Takes minutes with a real model.

    Example: [bold]astraea bench executor --model toy --json[/bold]
    """
    if rounds < 1:
        raise UsageError(f"the number of rounds must be at least 1, not {rounds}")
    measured = {name: _measured(name, rounds, flex=flex) for name in ([model] if model else ["toy", "default"])}
    if as_json:
        print(json.dumps(measured, indent=2))
        return
    print_catalog([{"model": name, "what": key, "value": _cell(value)} for name, figures in measured.items()
                   for key, value in figures.items()], "")  # fmt: skip


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(one)}" for key, one in value.items())
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _measured(name: str, rounds: int, *, flex: bool) -> dict[str, object]:
    """Return the figures of one model by name; the two ratios to ``transformers`` are those of ragged lengths."""
    loaded = load(name, "cpu", None, 1)
    from astraea.executor.machine import device_words
    from astraea.executor.speed import EQUAL, RAGGED, copy_ratio, decode_ms, race

    tell(f"measuring {loaded.note}")
    equal, ragged = race(loaded, EQUAL, rounds=rounds), race(loaded, RAGGED, rounds=rounds)
    figures: dict[str, object] = {
        "note": loaded.note,
        "device": device_words(loaded),
        "ratio_generate_batch": ragged.ratio_generate_batch,
        "ratio_generate": ragged.ratio_generate,
        "ratio_generate_batch_equal": equal.ratio_generate_batch,
        "ratio_generate_equal": equal.ratio_generate,
        "swap_ratio": copy_ratio(loaded),
        "tokens_per_s": {EQUAL: _speeds(equal), RAGGED: _speeds(ragged)},
        "decode_step_ms_of_8_turns": {str(context): value for context, value in decode_ms(loaded).items()},
    }
    if flex:
        tell("compiling FlexAttention")
        costs = decode_ms(loaded, flex=True)
        figures["decode_step_ms_of_8_turns_flex"] = {str(context): value for context, value in costs.items()}
    return figures


def _speeds(one: Race) -> dict[str, object]:
    return asdict(one)
