"""``astraea torture``: simulation with faults, every claim judged, and what is found shrunk to a short trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from astraea.cli.progress import progress_bar
from astraea.cli.tables import print_counts
from astraea.simulator.torture.night import Finding, Night, NightRequest, plans_of, torture
from astraea.simulator.torture.plan import plan_lines

__all__ = ["torture_command"]

_US_PER_HOUR = 3_600_000_000


def torture_command(
    *,
    hours_simulated: Annotated[
        float, typer.Option(help="Device-hours with faults, of all seeds together; each has an equal share.")
    ] = 1.0,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed; the others follow.")] = 0,
    policy: Annotated[str, typer.Option(help="Name; see: astraea policies.")] = "astraea",
    round_number: Annotated[
        int | None, typer.Option("--round", help="Only this round of the first seed, whatever the hours.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes side by side; by default one a core.")] = None,
    show_plan: Annotated[
        bool, typer.Option("--show-plan", help="Print the plans that the seeds expand into, and stop.")
    ] = False,
    record: Annotated[
        Path, typer.Option(help="Folder for the shrunk trace of each violation; see: astraea check.")
    ] = Path("torture-findings"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate agents and an engine that misbehave, and judge every claim that can be seen.

    A seed expands into rounds, each with a plan: an engine, pools that are tight, jobs, and faults. Reports come late
    or not, batches, turns and copies fail, clients cancel and close, histories are edited, tools are lost, the clock
    jumps, estimates go mad. At its end a round heals: what is owed is reported, nothing more goes wrong, no job begins.
    Then every job must come to its end, and every block must be back.

    Hours are virtual time on the engine's clock, jumps left out. The healing comes on top and is counted in the total,
    and the last round of a seed may exceed its share.

    Exit code 0: no claim is broken. 1: one is; the seed, the round and a shrunk trace are named.

    A night: [bold]astraea torture --hours-simulated 100 --seeds 20 --json[/bold]

    Again: [bold]astraea torture --seed 7 --round 3[/bold], its plan: [bold]--seed 7 --round 3 --show-plan[/bold]
    """
    request = NightRequest(
        hours=hours_simulated, seeds=seeds, first_seed=seed, policy=policy, round=round_number, record=record
    )
    if show_plan:
        plans = [plan_lines(plan) for plan in plans_of(request)]
        print(json.dumps(plans, indent=2) if as_json else "\n".join(line for lines in plans for line in lines))
        return
    with progress_bar(wanted=not as_json, unit="simulated minutes") as on_progress:
        night = torture(request, workers=workers, on_progress=on_progress)
    if as_json:
        print(json.dumps(night.as_json(), indent=2))
    else:
        _print_night(night)
        for finding in night.findings:
            print("\n".join(_finding_lines(finding)))
    raise typer.Exit(1 if night.findings else 0)


def _print_night(night: Night) -> None:
    hours = f"{night.simulated_us / _US_PER_HOUR:,.1f} h simulated ({night.busy_us / _US_PER_HOUR:,.1f} h busy)"
    bound = "no bound" if night.bypass_bound is None else f"of at most {night.bypass_bound:,}"
    title = f"{night.policy}: {len(night.findings)} violations in {hours}, {night.rounds:,} rounds, {night.seeds} seeds"
    counts = f"{night.events:,} events, {night.decides:,} decides, {night.decisions:,} decisions"
    worst = f"worst bypass {night.worst_bypass:,} {bound}, healed within {night.worst_heal_share:.1%} of the bound"
    print_counts({"faults that struck": night.faults, "reached": night.probes})
    print(f"{title}\n{counts}\n{worst}\ndigest {night.digest}")


def _finding_lines(finding: Finding) -> list[str]:
    seen = f"astraea check names {finding.checker}" if finding.checker else "astraea check cannot see it"
    return [
        f"seed {finding.seed}, round {finding.round}: {finding.claim} is broken: {finding.sentence}",
        f"  shrunk to {finding.jobs} jobs and {finding.faults} faults: {finding.trace} ({seen})",
        f"  again: astraea torture --seed {finding.seed} --round {finding.round}",
        *(f"  {line}" for line in finding.plan),
    ]
