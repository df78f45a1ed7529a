"""The search of ``astraea simulate --sustain``, as a table or as JSON."""

from __future__ import annotations

import json
import sys

from rich.table import Table

from astraea.cli.progress import progress_bar
from astraea.cli.tables import console, is_clairvoyant, settings_line
from astraea.simulator.scenario import Scenario
from astraea.simulator.sustain import Sustained, SustainedReport, find_sustained

__all__ = ["run_sustain"]

_BASE = "fcfs"
"""The policy that the rates of the others are set against, where it is among them."""


def run_sustain(
    scenario: Scenario, slowdown_max: float, *, policies: list[str], seeds: int, warmup_share: float,
    workers: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Search, and print what was found."""
    with progress_bar(wanted=not as_json) as on_progress:
        report = find_sustained(
            scenario, slowdown_max, policies=policies, seeds=seeds, warmup_share=warmup_share, workers=workers,
            on_progress=on_progress,
        )  # fmt: skip
    for note in report.notes:
        print(f"astraea: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)


def _print(report: SustainedReport) -> None:
    seeds = f", {report.seeds} seeds" if report.seeds > 1 else ""
    title = (
        f"{report.workload} on {report.engine}: {report.jobs:,} jobs{seeds}, capacity "
        f"{report.capacity_jobs_per_s:.4g} jobs/s\nhighest rate with a mean slowdown of at most {report.slowdown_max:g}"
    )
    caption = f"slowdown: completion time over the job's time alone on the engine. {settings_line(report.scenario)}."
    if any(is_clairvoyant(sustained.policy) for sustained in report.policies):
        caption += "\n* clairvoyant: told what the future holds; a mark to measure against, unattainable."
    table = Table(title=title, caption=caption, caption_justify="left", title_justify="left")
    table.add_column("policy", no_wrap=True)
    for header in ("jobs/s", "load", f"against\n{_BASE}", "mean\nslowdown"):
        table.add_column(header, justify="right", no_wrap=True)
    base = next((sustained.load for sustained in report.policies if sustained.policy == _BASE), None)
    for sustained in report.policies:
        mark = " *" if is_clairvoyant(sustained.policy) else ""
        table.add_row(f"{sustained.policy}{mark}", *_cells(sustained, base))
    console().print(table)


def _cells(sustained: Sustained, base: float | None) -> tuple[str, ...]:
    if sustained.load is None or sustained.rate_jobs_per_s is None:
        return ("none", "", "", "")
    least = ">= " if sustained.is_highest_tried else ""
    against = "" if base is None else f"{sustained.load / base:.2f}"
    slowdown = f"{sustained.mean_slowdown:.3f}"
    return (f"{least}{sustained.rate_jobs_per_s:.4g}", f"{least}{sustained.load:.3f}", against, slowdown)
