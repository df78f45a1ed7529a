"""Runs a trace through the scheduler again: the same events at the same times give the same decisions (INV-7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from astraea.decisions import Decision
from astraea.errors import ContractError, TraceError
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.trace.codec import canonical_json, decision_to_json
from astraea.trace.digest import RunDigest
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, Entry, EventEntry, TraceHeader

__all__ = ["Difference", "ReplayResult", "replay"]


@frozen(slots=True)
class Difference:
    """The first line at which the replay is not what was recorded."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}"


@frozen(slots=True)
class ReplayResult:
    """What came of a replay; it stops at the first difference."""

    digest: str
    """Of the replayed run, up to the first difference."""
    recorded_digest: str | None
    """As the end line has it; ``None`` where the trace was cut short, or the replay stopped before it."""
    first_difference: Difference | None
    events: int
    decisions: int

    @property
    def same(self) -> bool:
        """Whether the replay is what was recorded, as far as the trace goes."""
        return self.first_difference is None


class _DiffersError(Exception):
    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.difference = Difference(line, sentence)


def replay(entries: Iterable[Entry], make_policy: Callable[[str, Limits], Policy]) -> ReplayResult:
    """Feed a trace's events and ``decide`` calls to a new scheduler and compare its decisions line by line.

    ``make_policy`` makes the policy of the header's name; what it raises is passed on. Raises :class:`TraceError` where
    the trace does not begin with a header.
    """
    stream = iter(entries)
    header = next(stream, None)
    if not isinstance(header, TraceHeader):
        raise TraceError("trace", 1, "the trace does not begin with a header")
    run = _Replay(Scheduler(header.limits, make_policy(header.policy, header.limits)))
    difference = None
    try:
        run.all(stream)
    except _DiffersError as error:
        difference = error.difference
    return ReplayResult(run.digest.hexdigest(), run.recorded_digest, difference, run.events, run.decisions)


class _Replay:
    """A scheduler that is driven by a trace."""

    def __init__(self, core: Scheduler) -> None:
        self._core = core
        self.digest = RunDigest()
        self.recorded_digest: str | None = None
        self.events = 0
        self.decisions = 0
        self._due: Iterator[Decision] = iter(())
        """Replayed decisions that the lines to come must hold."""
        self._line = 0

    def all(self, entries: Iterable[Entry]) -> None:
        """Run the entries after the header; raise at the first difference."""
        for entry in entries:
            if not isinstance(entry, DecisionEntry):
                self._nothing_more()
            self._line = entry.line
            match entry:
                case EventEntry():
                    self._event(entry)
                case DecideEntry():
                    self._decide(entry)
                case DecisionEntry():
                    self._compare(entry)
                case EndEntry():
                    self._end(entry)
                case TraceHeader():
                    raise TraceError("trace", entry.line, "a second header")

    def _event(self, entry: EventEntry) -> None:
        try:
            self._core.handle(entry.event)
        except ContractError as error:
            raise _DiffersError(entry.line, f"the event was taken, and is refused now: {error}") from error
        self.events += 1
        self.digest.reported(entry.event)

    def _decide(self, entry: DecideEntry) -> None:
        try:
            decisions = self._core.decide(entry.now_us)
        except ContractError as error:
            raise _DiffersError(entry.line, f"decide was answered, and is refused now: {error}") from error
        self.digest.decided(entry.now_us, decisions)
        self._due = iter(decisions)

    def _compare(self, entry: DecisionEntry) -> None:
        due = next(self._due, None)
        if due is None:
            raise _DiffersError(entry.line, f"recorded is {_shown(entry.decision)}, and nothing is decided now")
        if due != entry.decision:
            raise _DiffersError(entry.line, f"recorded is {_shown(entry.decision)}, decided now is {_shown(due)}")
        self.decisions += 1

    def _nothing_more(self) -> None:
        """Raise where more is decided than was recorded; at the end of a trace that was cut off nobody knows."""
        due = next(self._due, None)
        if due is not None:
            raise _DiffersError(self._line, f"decided after this line is {_shown(due)} too, which is not recorded")

    def _end(self, entry: EndEntry) -> None:
        self.recorded_digest = entry.digest
        digest = self.digest.hexdigest()
        if digest != entry.digest:
            raise _DiffersError(entry.line, f"the recorded digest is {entry.digest}, the replay's is {digest}")


def _shown(decision: Decision) -> str:
    return canonical_json(decision_to_json(decision))
