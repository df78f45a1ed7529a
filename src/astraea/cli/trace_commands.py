"""Commands about a recorded run: judge it, tell the story of a turn, draw it, run it again."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import asdict

from astraea.errors import UsageError
from astraea.rivals import make_policy
from astraea.trace.check import check_trace
from astraea.trace.check_report import CheckReport
from astraea.trace.explain import explain_turn
from astraea.trace.perfetto import perfetto_events
from astraea.trace.reader import read_trace
from astraea.trace.replay import ReplayResult
from astraea.trace.replay import replay as replay_trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

__all__ = ["check", "explain", "export", "replay"]

Trace = Annotated[Path, typer.Argument(help="A trace, as astraea simulate --record writes it.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(trace: Trace, as_json: AsJson = False) -> None:
    """Judge a trace against the claims that can be seen from outside, and name the first line that breaks one.

    Exit code 0: no claim is broken. 1: one is. 2: this is no trace.

    Example: [bold]astraea check traces/swebench-astraea-seed0.ndjson[/bold]
    """
    report = check_trace(read_trace(trace))
    if as_json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=2))
    else:
        print("\n".join(_check_lines(trace, report)))
    raise typer.Exit(0 if report.ok else 1)


def _check_lines(trace: Path, report: CheckReport) -> list[str]:
    if report.breach is not None:
        return [f"{trace}:{report.breach.line}: {report.breach.claim} is broken: {report.breach.sentence}"]
    counts = f"{report.events:,} events, {report.decides:,} decides, {report.decisions:,} decisions"
    turns = f"{report.turns_admitted:,} turns admitted, {report.turns_ended:,} ended, {report.turns_live:,} live"
    bound = f"at most {report.bypass_max:,}" if report.guarded else f"no bound under {report.policy}"
    lines = [
        f"{trace}: no claim is broken: {', '.join(report.claims)}",
        f"  {counts}; {report.jobs:,} jobs, {turns}, {report.turns_refused:,} refused",
        f"  worst bypass {report.worst_bypass:,} ({bound})",
        f"  worst preemptions {report.worst_preemptions} (at most {report.preemptions_max})",
        f"  device blocks at most {report.device_blocks_peak:,} of {report.device_blocks:,}",
        f"  host blocks at most {report.host_blocks_peak:,} of {report.host_blocks:,}",
        f"  digest {report.digest}",
    ]
    if not report.complete:
        lines.append("  the trace has no end line: it was cut short, and is judged up to there")
    return lines


def explain(
    trace: Trace,
    turn: Annotated[str, typer.Option(help="Id of the turn, as in the trace.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Tell in plain words why a turn waited, was preempted, or lost its cache.

    Example: [bold]astraea explain traces/swebench-astraea-seed0.ndjson --turn swebench-7/3.0[/bold]
    """
    sentences = explain_turn(read_trace(trace), turn)
    if as_json:
        print(json.dumps({"turn": turn, "sentences": sentences}, indent=2))
    else:
        print("\n".join(sentences))


def export(
    trace: Trace,
    perfetto: Annotated[bool, typer.Option("--perfetto", help="Chrome's trace format, for ui.perfetto.dev.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write; by default standard output.")] = None,
) -> None:
    """Write a trace in a form that another program draws: a lane a session, with its waits, work and swaps.

    Example: [bold]astraea export traces/swebench-astraea-seed0.ndjson --perfetto --out run.json[/bold]
    """
    if not perfetto:
        raise UsageError("name the form to export to: --perfetto")
    events = perfetto_events(read_trace(trace))
    with _opened(out) as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        file.write(json.dumps(next(events)))
        for event in events:
            file.write(",\n" + json.dumps(event))
        file.write("\n]}\n")


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Give standard output, or a file that is there in the end only if nothing went wrong."""
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(f"{out.name}.part")
    try:
        file = part.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: the file cannot be written ({error.strerror})") from error
    try:
        with file:
            yield file
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def replay(trace: Trace, as_json: AsJson = False) -> None:
    """Run a trace's events through the scheduler again: the decisions must be the recorded ones, to the same digest.

    Exit code 0: they are. 1: they differ, and the first line that does is named. 2: this is no trace.

    Example: [bold]astraea replay traces/swebench-astraea-seed0.ndjson[/bold]
    """
    result = replay_trace(read_trace(trace), make_policy)
    if as_json:
        print(json.dumps({"same": result.same, **asdict(result)}, indent=2))
    else:
        print(_replay_line(trace, result))
    raise typer.Exit(0 if result.same else 1)


def _replay_line(trace: Path, result: ReplayResult) -> str:
    if result.first_difference is not None:
        return f"{trace}:{result.first_difference.line}: the replay differs: {result.first_difference.sentence}"
    counts = f"{result.events:,} events, {result.decisions:,} decisions"
    cut = "" if result.recorded_digest is not None else "; the trace has no end line and is replayed up to there"
    return f"{trace}: the replay is what was recorded: {counts}, digest {result.digest}{cut}"
