"""Writes the trace of a round to a file, as ``astraea check`` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from astraea.decisions import Decision
from astraea.errors import UsageError
from astraea.simulator.torture.plan import plan_lines
from astraea.simulator.torture.verdict import RoundVerdict
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, Entry, EventEntry, TraceHeader
from astraea.trace.recorder import TraceRecorder

__all__ = ["write_trace"]


def write_trace(verdict: RoundVerdict, folder: Path) -> Path:
    """Write the trace of a round that broke a claim, its plan in the header; return the file.

    A run that stopped at the breach gives a trace without an end line. Raises :class:`UsageError` where the folder
    cannot be written.
    """
    plan, entries = verdict.plan, verdict.entries
    file = folder / f"torture-{plan.policy}-seed{plan.seed}-round{plan.round}.ndjson"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: traces cannot be written there ({error.strerror})") from error
    header = entries[0]
    assert isinstance(header, TraceHeader)
    meta = {"seed": plan.seed, "round": plan.round, "claim": verdict.claim, "plan": plan_lines(plan)}
    recorder = TraceRecorder(
        file, header.limits, header.policy, guarded=header.guarded, blocking=header.blocking, meta=meta
    )
    with recorder:
        _record(entries, recorder)
        if not isinstance(entries[-1], EndEntry):
            recorder.cut_off()  # and then leaving the block writes no end
    return file


def _record(entries: Sequence[Entry], recorder: TraceRecorder) -> None:
    for index, entry in enumerate(entries):
        if isinstance(entry, EventEntry):
            recorder.event(entry.event)
        elif isinstance(entry, DecideEntry):
            recorder.decided(entry.now_us, _decisions_after(entries, index))


def _decisions_after(entries: Sequence[Entry], index: int) -> list[Decision]:
    """Return the decisions of the ``decide`` at an index."""
    decisions = []
    for entry in entries[index + 1 :]:
        if not isinstance(entry, DecisionEntry):
            break
        decisions.append(entry.decision)
    return decisions
