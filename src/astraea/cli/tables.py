"""Reports as tables for people: one row a policy, the best of what can be attained in bold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from attrs import frozen
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from astraea.policy.limits import Limits
from astraea.rivals import make_policy
from astraea.simulator.experiment import Report
from astraea.simulator.scenario import Scenario
from astraea.simulator.verdict import PolicyVerdict

__all__ = [
    "console",
    "is_clairvoyant",
    "print_catalog",
    "print_costs",
    "print_counts",
    "print_report",
    "seconds_text",
    "settings_line",
    "title_line",
    "whole_text",
]

_PIPE_COLUMNS = 200
"""Width where the output is no terminal, so that a row stays on one line."""


@frozen(slots=True)
class _Column:
    header: str
    text: Callable[[PolicyVerdict], str]
    value: Callable[[PolicyVerdict], float] | None = None
    """What is compared; the smallest is the best. ``None``: nothing is best."""


def seconds_text(value: float) -> str:
    """Return seconds with three digits at least."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits at least


def whole_text(value: float) -> str:
    """Return a count as a whole number."""
    return f"{value:,.0f}"


_COLUMNS = (
    _Column("mean JCT\ns", lambda v: seconds_text(v.mean_jct_s), lambda v: v.mean_jct_s),
    _Column("p50\ns", lambda v: seconds_text(v.p50_jct_s), lambda v: v.p50_jct_s),
    _Column("p95\ns", lambda v: seconds_text(v.p95_jct_s), lambda v: v.p95_jct_s),
    _Column("p99\ns", lambda v: seconds_text(v.p99_jct_s), lambda v: v.p99_jct_s),
    _Column("slowdown\np99", lambda v: seconds_text(v.p99_slowdown), lambda v: v.p99_slowdown),
    _Column("\nmax", lambda v: seconds_text(v.max_slowdown), lambda v: v.max_slowdown),
    _Column("queue\ns", lambda v: seconds_text(v.mean_queue_s), lambda v: v.mean_queue_s),
    _Column("recom-\nputed", lambda v: f"{v.recomputed_share:.1%}", lambda v: v.recomputed_share),
    _Column("swapped\ntokens", lambda v: whole_text(v.swapped_tokens)),
    _Column("preemp-\ntions", lambda v: whole_text(v.preemptions)),
    _Column("jobs/s", lambda v: f"{v.throughput_jobs_per_s:.4g}", lambda v: -v.throughput_jobs_per_s),
    _Column("bypass\nworst", lambda v: whole_text(v.worst_bypass)),
    _Column("\nbound", lambda v: "none" if v.bypass_bound is None else whole_text(v.bypass_bound)),
    _Column("decide\np50 us", lambda v: whole_text(v.decide_us_p50)),
    _Column("\np99 us", lambda v: whole_text(v.decide_us_p99)),
)


def is_clairvoyant(policy: str) -> bool:
    """Tell whether the policy of that name reads the future."""
    return make_policy(policy, Limits(device_blocks=1)).clairvoyant


def title_line(report: Report) -> str:
    """Return what was run on what, and how much of it."""
    seeds = f", {report.seeds} seeds" if report.seeds > 1 else ""
    return f"{report.workload} on {report.engine}: {report.jobs:,} jobs{seeds}, {_arrivals(report)}"


def settings_line(scenario: Scenario) -> str:
    """Return what has to be known to read the figures."""
    parts = ["JCT: from a job's arrival to its last token, tool waits included"]
    if scenario.tool_cap_s is not None:
        parts.append(f"tool waits cut to {scenario.tool_cap_s:g} s")
    if scenario.length_scale != 1:
        parts.append(f"lengths x {scenario.length_scale:g}")
    if scenario.time_scale != 1:
        parts.append(f"tool waits x {scenario.time_scale:g}")
    if scenario.host_ratio:
        parts.append(f"host pool {scenario.host_ratio:g} x the device pool")
    return "; ".join(parts)


def _arrivals(report: Report) -> str:
    scenario = report.scenario
    if scenario.agents is not None:
        return f"closed loop of {scenario.agents} agents"
    if report.rate_jobs_per_s is None:
        return "arrivals as recorded"
    process = "bursty" if scenario.arrivals == "bursty" else "Poisson"
    rate = f"{process} arrivals at {report.rate_jobs_per_s:.4g} jobs/s"
    if report.capacity_jobs_per_s is None:
        return rate
    return f"load {scenario.asked_load:g} ({rate}, capacity {report.capacity_jobs_per_s:.4g} jobs/s)"


def print_report(report: Report) -> None:
    """Print the table of a report to standard output."""
    attainable = [verdict for verdict in report.policies if not is_clairvoyant(verdict.policy)]
    best = {
        column.header: min(column.value(verdict) for verdict in attainable)
        for column in _COLUMNS
        if column.value is not None and len(attainable) > 1
    }
    caption = [settings_line(report.scenario) + "."]
    if len(attainable) < len(report.policies):
        caption.append("* clairvoyant: told what the future holds; a mark to measure against, unattainable.")
    table = Table(title=title_line(report), caption="\n".join(caption), caption_justify="left", title_justify="left")
    table.add_column("policy", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column.header, justify="right", no_wrap=True)
    for verdict in report.policies:
        marked = is_clairvoyant(verdict.policy)
        cells = [_cell(column, verdict, best, is_bold=not marked) for column in _COLUMNS]
        table.add_row(f"{verdict.policy} *" if marked else verdict.policy, *cells, style="dim" if marked else None)
    console().print(table)


def _cell(column: _Column, verdict: PolicyVerdict, best: dict[str, float], *, is_bold: bool) -> str:
    text = column.text(verdict)
    if is_bold and column.value is not None and best.get(column.header) == column.value(verdict):
        return f"[bold]{text}[/bold]"
    return text


def print_catalog(rows: Sequence[dict[str, object]], footnote: str) -> None:
    """Print entries of a registry to standard output: a column a key, yes or no for what is true or false."""
    table = Table(caption=footnote or None, caption_justify="left", show_lines=sys.stdout.isatty())
    for key in rows[0]:
        table.add_column(key, no_wrap=key == "name", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(value) for value in row.values()))
    console(wide=True).print(table)


def print_counts(groups: Mapping[str, Mapping[str, int]]) -> None:
    """Print named counts side by side: a pair of columns a group."""
    table = Table()
    for group in groups:
        table.add_column(group, no_wrap=True)
        table.add_column("times", justify="right", no_wrap=True)
    columns = [[(escape(name), f"{count:,}") for name, count in counts.items()] for counts in groups.values()]
    for row in zip_longest(*columns, fillvalue=("", "")):
        table.add_row(*(cell for pair in row for cell in pair))
    console().print(table)


def print_costs(rows: Sequence[tuple[str, float, float]]) -> None:
    """Print measured wall times: what was timed, the median and the 99th percentile in microseconds."""
    table = Table(caption="Wall time on this machine, garbage collector off.", caption_justify="left")
    table.add_column("what", no_wrap=True)
    for header in ("p50 us", "p99 us"):
        table.add_column(header, justify="right", no_wrap=True)
    for what, p50_us, p99_us in rows:
        table.add_row(what, f"{p50_us:,.1f}", f"{p99_us:,.1f}")
    console().print(table)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(str(value))


def console(*, wide: bool = False) -> Console:
    """Return a console as wide as the terminal; wide enough for a row a line where there is none."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=_PIPE_COLUMNS * 3 if wide else _PIPE_COLUMNS, color_system=None)
