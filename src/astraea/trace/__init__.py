"""What happened: a run as NDJSON, its digest, its replay, its judge, and two ways to look at it."""

from astraea.trace.check import check_trace
from astraea.trace.check_report import Breach, CheckReport
from astraea.trace.digest import RunDigest
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, Entry, EventEntry, TraceHeader
from astraea.trace.explain import explain_turn
from astraea.trace.perfetto import perfetto_events, to_perfetto
from astraea.trace.reader import TraceReader, read_trace
from astraea.trace.recorder import TraceRecorder
from astraea.trace.replay import Difference, ReplayResult, replay

__all__ = [
    "Breach",
    "CheckReport",
    "DecideEntry",
    "DecisionEntry",
    "Difference",
    "EndEntry",
    "Entry",
    "EventEntry",
    "ReplayResult",
    "RunDigest",
    "TraceHeader",
    "TraceReader",
    "TraceRecorder",
    "check_trace",
    "explain_turn",
    "perfetto_events",
    "read_trace",
    "replay",
    "to_perfetto",
]
