"""What fleets of agents came to, as a table: a row a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from astraea.cli.tables import console, seconds_text, whole_text
from astraea.fleet.results import FleetVerdict
from astraea.simulator.scenario import Scenario

__all__ = ["fleet_title", "print_fleets"]

_HEADERS = (
    "mean JCT\ns", "p50\ns", "p95\ns", "p99\ns", "less tool\nwaits s", "jobs", "\nfailed", "turns", "jobs/s",
    "prompt\ntokens", "\ncached", "output\ntokens", "\nper s",
)  # fmt: skip


def fleet_title(scenario: Scenario, where: str) -> str:
    """Return what ran where."""
    return f"{scenario.name} on {where}; closed loop of {scenario.agents} agents"


def print_fleets(title: str, scenario: Scenario, verdicts: Sequence[FleetVerdict], notes: Sequence[str] = ()) -> None:
    """Print a row a run to standard output, the least mean completion time in bold."""
    scales = f"Lengths x {scenario.length_scale:g}, tool waits x {scenario.time_scale:g}."
    caption = [f"JCT: from a job's first request to its last token, tool waits included. {scales}", *notes]
    table = Table(title=escape(title), caption=escape("\n".join(caption)), caption_justify="left", title_justify="left")
    table.add_column("run", no_wrap=True)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    best = min(verdict.mean_jct_s for verdict in verdicts)
    for verdict in verdicts:
        jct = seconds_text(verdict.mean_jct_s)
        table.add_row(
            escape(verdict.label),
            f"[bold]{jct}[/bold]" if verdict.mean_jct_s == best and len(verdicts) > 1 else jct,
            *(seconds_text(value) for value in (verdict.p50_jct_s, verdict.p95_jct_s, verdict.p99_jct_s)),
            seconds_text(verdict.mean_service_s),
            *(whole_text(value) for value in (verdict.jobs, verdict.failed, verdict.turns)),
            f"{verdict.throughput_jobs_per_s:.4g}",
            whole_text(verdict.prompt_tokens),
            f"{verdict.cached_share:.1%}",
            whole_text(verdict.output_tokens),
            whole_text(verdict.output_tokens_per_s),
        )
    console().print(table)
