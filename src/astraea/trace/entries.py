"""The lines of a trace as objects: a header, then events, ``decide`` calls and their decisions, then an end.

    {"astraea_trace":1,"policy":"astraea","guarded":true,"digest":"sha256-steps-1","limits":{...}}
    {"event":"TurnArrived","now_us":0,...}
    {"decide":0}
    {"decision":"RunBatch",...}
    {"end":{"digest":"...","events":1,"decisions":1}}

The decisions of a ``decide`` follow it at once. A ``RunBatch`` whose chunks are those of the one before it leaves them
out.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from attrs import evolve, frozen

from astraea.decisions import Chunk, Decision, RunBatch
from astraea.errors import TraceError
from astraea.events import Event
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.trace.codec import decision_from_json, event_from_json, limits_from_json
from astraea.trace.digest import DIGEST_KIND

__all__ = [
    "TRACE_VERSION",
    "DecideEntry",
    "DecisionEntry",
    "EndEntry",
    "Entry",
    "EventEntry",
    "LineParser",
    "TraceHeader",
]

TRACE_VERSION = 1
_T = TypeVar("_T", str, int, bool, dict[str, Any])


@frozen(slots=True)
class TraceHeader:
    """The first line: what was run, with which limits."""

    line: int
    policy: str
    limits: Limits
    guarded: bool
    """Whether the policy keeps the bypass bound (LIVE-1)."""
    blocking: Blocking | None = None
    """What a turn that does not fit holds back under the policy, where the recorder said so."""
    digest: str = DIGEST_KIND
    meta: tuple[tuple[str, Any], ...] = ()
    """What the driver wanted to remember: names and plain JSON values."""


@frozen(slots=True)
class EventEntry:
    """One event that ``handle`` took."""

    line: int
    event: Event


@frozen(slots=True)
class DecideEntry:
    """One call of ``decide``; its decisions follow."""

    line: int
    now_us: int


@frozen(slots=True)
class DecisionEntry:
    """One decision of the ``decide`` before it."""

    line: int
    decision: Decision


@frozen(slots=True)
class EndEntry:
    """The last line of a trace that was closed."""

    line: int
    digest: str
    events: int
    decisions: int


Entry: TypeAlias = TraceHeader | EventEntry | DecideEntry | DecisionEntry | EndEntry


class LineParser:
    """Turns the JSON objects of one trace into entries, in order."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._chunks: tuple[Chunk, ...] | None = None
        self._begun = False
        self._ended = False
        self._after_decide = False
        self._events = 0
        self._decisions = 0

    def entry(self, record: dict[str, Any], line: int) -> Entry:
        """Return the entry of a line; raise :class:`TraceError` where it is none or stands in the wrong place."""
        if self._ended:
            raise TraceError(self._source, line, "a line follows the end of the trace")
        if not self._begun:
            self._begun = True
            return self._header(record, line)
        if "event" in record:
            self._events += 1
            self._after_decide = False
            return EventEntry(line, event_from_json(record, source=self._source, line=line))
        if "decision" in record:
            return self._decision(record, line)
        if record.keys() == {"decide"}:
            self._after_decide = True
            return DecideEntry(line, self._number(record, "decide", line))
        if record.keys() == {"end"}:
            return self._end(record["end"], line)
        raise TraceError(self._source, line, "the line is neither an event, a decide, a decision nor the end")

    def _header(self, record: dict[str, Any], line: int) -> TraceHeader:
        version = record.get("astraea_trace")
        if version is None:
            raise TraceError(self._source, line, "the first line is not the header of an Astraea trace")
        if type(version) is not int or version != TRACE_VERSION:
            raise TraceError(
                self._source, line, f"trace version {version!r} is not {TRACE_VERSION}, which is read here"
            )
        known = {"astraea_trace", "policy", "guarded", "digest", "limits", "blocking", "meta"}
        unknown = record.keys() - known
        if unknown:
            raise TraceError(self._source, line, f"the header has no field {min(unknown)!r}")
        digest = self._typed(record, "digest", str, line)
        if digest != DIGEST_KIND:
            raise TraceError(self._source, line, f"digest {digest!r} is not {DIGEST_KIND!r}, which is known here")
        blocking = record.get("blocking")
        if blocking is not None and blocking not in [b.value for b in Blocking]:
            raise TraceError(self._source, line, f"blocking {blocking!r} is not one of {', '.join(Blocking)}")
        meta = self._typed(record, "meta", dict, line) if "meta" in record else {}
        return TraceHeader(
            line,
            policy=self._typed(record, "policy", str, line),
            limits=limits_from_json(record.get("limits"), source=self._source, line=line),
            guarded=self._typed(record, "guarded", bool, line),
            blocking=None if blocking is None else Blocking(blocking),
            meta=tuple(meta.items()),
        )

    def _decision(self, record: dict[str, Any], line: int) -> DecisionEntry:
        if not self._after_decide:
            raise TraceError(self._source, line, "a decision without a decide before it")
        is_batch = record["decision"] == "RunBatch"
        repeated = is_batch and "chunks" not in record
        if repeated and self._chunks is None:
            raise TraceError(self._source, line, "RunBatch lacks the field chunks, and no RunBatch stands before it")
        whole = {**record, "chunks": []} if repeated else record
        decision = decision_from_json(whole, source=self._source, line=line)
        if isinstance(decision, RunBatch):
            if repeated and self._chunks is not None:
                decision = evolve(decision, chunks=self._chunks)
            self._chunks = decision.chunks
        self._decisions += 1
        return DecisionEntry(line, decision)

    def _end(self, record: object, line: int) -> EndEntry:
        if not isinstance(record, dict) or record.keys() != {"digest", "events", "decisions"}:
            raise TraceError(self._source, line, "the end must be an object with digest, events and decisions")
        self._ended = True
        for name, counted in (("events", self._events), ("decisions", self._decisions)):
            said = self._number(record, name, line)
            if said != counted:
                raise TraceError(self._source, line, f"the end tells of {said} {name}, but {counted} stand before it")
        return EndEntry(line, self._typed(record, "digest", str, line), self._events, self._decisions)

    def _number(self, record: dict[str, Any], name: str, line: int) -> int:
        return self._typed(record, name, int, line)

    def _typed(self, record: dict[str, Any], name: str, cls: type[_T], line: int) -> _T:
        value = record.get(name)
        if type(value) is not cls:
            words = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object"}
            raise TraceError(self._source, line, f"{name} must be {words[cls]}")
        return value
