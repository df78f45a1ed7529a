"""What can go wrong, in words: the closed list of faults, and one fault of a plan.

A fault is armed at its time. One that is about a report or an arrival strikes the next of its kind that is not struck
already; the others strike at once. Whom it strikes is the ``pick``-th of those that there are, so that a fault means
something whatever was taken out of the plan before it.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from astraea.units import US_PER_S

__all__ = ["TARGETS", "Fault", "FaultKind", "Target"]


class FaultKind(StrEnum):
    """One way in which engine, link, clients, clock or estimates misbehave."""

    BATCH_LOST = "batch-lost"
    """A batch is not reported in time; its report comes late, or not before the heal."""
    BATCH_FAILED = "batch-failed"
    """Every turn with a chunk in the batch fails."""
    BATCH_VOID = "batch-void"
    """A batch is reported with no step run and no turn ended."""
    BATCH_SLOW = "batch-slow"
    """A batch takes longer, in time still."""
    TURN_FAILED = "turn-failed"
    """One turn of a batch fails."""
    COPY_LOST = "copy-lost"
    """A copy is not reported in time; its report comes late, or not before the heal."""
    COPY_FAILED = "copy-failed"
    """A copy is reported as failed."""
    LEFT_IN_COPY = "left-in-copy"
    """While a context is being copied its client cancels its turn or its job, or closes its session."""
    LINK_STALLED = "link-stalled"
    """Copies wait on the link, in time still."""
    REPORT_TWICE = "report-twice"
    """A report is sent a second time, or with a clock that runs backwards: it must be refused and change nothing."""
    TURN_CANCELLED = "turn-cancelled"
    JOB_CANCELLED = "job-cancelled"
    SESSION_CLOSED = "session-closed"
    ARRIVALS_HELD = "arrivals-held"
    """Jobs are held at the door and then arrive in a burst."""
    HISTORY_EDITED = "history-edited"
    """A turn's prompt begins with less of what its context held than expected, or not with its shared prefix."""
    HINTS_ABSURD = "hints-absurd"
    """A turn arrives with impossible hints, a false future among them."""
    WORKS_FOR_ANOTHER = "works-for-another"
    """A turn arrives that names a live job of another session as its parent."""
    TOOL_LOST = "tool-lost"
    """A tool does not return before the heal."""
    TOOL_EARLY = "tool-early"
    """A tool's return is told before the turn that takes it up."""
    CLOCK_JUMPED = "clock-jumped"
    ESTIMATES_MAD = "estimates-mad"
    """The policy's sizes and memory preferences are replaced by adversarial ones."""


class Target(StrEnum):
    """What a fault strikes."""

    BATCH = "batch"
    COPY = "copy"
    REPORT = "report"
    ARRIVAL = "arrival"
    TOOL = "tool"
    MOMENT = "moment"
    """It strikes at its time."""


_BATCH = (
    FaultKind.BATCH_LOST,
    FaultKind.BATCH_FAILED,
    FaultKind.BATCH_VOID,
    FaultKind.BATCH_SLOW,
    FaultKind.TURN_FAILED,
)
_COPY = (FaultKind.COPY_LOST, FaultKind.COPY_FAILED, FaultKind.LEFT_IN_COPY)
_ARRIVAL = (FaultKind.HISTORY_EDITED, FaultKind.HINTS_ABSURD, FaultKind.WORKS_FOR_ANOTHER)
TARGETS = (
    dict.fromkeys(FaultKind, Target.MOMENT)
    | dict.fromkeys(_BATCH, Target.BATCH)
    | dict.fromkeys(_COPY, Target.COPY)
    | dict.fromkeys(_ARRIVAL, Target.ARRIVAL)
    | dict.fromkeys((FaultKind.TOOL_LOST, FaultKind.TOOL_EARLY), Target.TOOL)
    | {FaultKind.REPORT_TWICE: Target.REPORT}
)
_SPANLESS = (
    FaultKind.BATCH_FAILED,
    FaultKind.TURN_FAILED,
    FaultKind.COPY_FAILED,
    FaultKind.LEFT_IN_COPY,
    FaultKind.REPORT_TWICE,
    FaultKind.TURN_CANCELLED,
    FaultKind.JOB_CANCELLED,
    FaultKind.SESSION_CLOSED,
    *_ARRIVAL,
    FaultKind.TOOL_LOST,
    FaultKind.TOOL_EARLY,
)


@frozen(slots=True)
class Fault:
    """One thing that goes wrong, from ``at_us`` on."""

    at_us: int
    kind: FaultKind
    pick: int
    """Which of several it strikes, and whatever else about it is a choice."""
    span_us: int | None
    """How long it lasts or how late a report is; ``None``: until the heal."""

    def __str__(self) -> str:
        text = f"{self.at_us / US_PER_S:12.3f} s  {self.kind}"
        if self.kind in _SPANLESS:
            return f"{text} (choice {self.pick})"
        span = "until the heal" if self.span_us is None else f"for {self.span_us / US_PER_S:.3f} s"
        return f"{text} {span} (choice {self.pick})"
