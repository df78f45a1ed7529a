"""A trace in Chrome's trace event format, which ui.perfetto.dev opens: a lane a session, and what the engine holds.

A session's first context has the session's lane; a branch that lives beside it has its own, because spans of one lane
must not cross. In a lane follow each other: ``queued``, ``prefill``, ``decode``, ``tool wait`` and the swaps. Counters
show the free device blocks, as the batches told them, and the running and the waiting turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define

from astraea.decisions import Decision, Dispatch, Preempt, Refuse, RunBatch, SwapIn, SwapOut
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Event,
    JobCancelled,
    Outcome,
    SessionClosed,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
)
from astraea.trace.entries import DecideEntry, DecisionEntry, Entry, EventEntry, TraceHeader

__all__ = ["perfetto_events", "to_perfetto"]

_ENGINE, _SESSIONS = 1, 2
"""Process ids: counters stand under one, lanes under the other."""


@define(slots=True, eq=False)
class _Lane:
    """What one context does, and since when."""

    tid: int
    key: tuple[str, str, str]
    doing: str = ""
    """What it does but for a swap; empty where it does nothing."""
    swap: str = ""
    swap_op: int = 0
    shown: str = ""
    since_us: int = 0
    turn_id: str = ""


@define(slots=True, eq=False)
class _Live:
    """A live turn."""

    lane: _Lane
    job: tuple[str, str]
    goal_tokens: int
    held_tokens: int = 0
    running: bool = False


def to_perfetto(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return a whole trace as one JSON object to write to a file."""
    return {"traceEvents": list(perfetto_events(entries)), "displayTimeUnit": "ms"}


def perfetto_events(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """Yield the trace events one by one; times and durations are in microseconds."""
    drawing = _Drawing()
    yield from (_name("process_name", _ENGINE, 0, "engine"), _name("process_name", _SESSIONS, 0, "sessions"))
    for entry in entries:
        match entry:
            case TraceHeader():
                drawing.out.append(_counter("free device blocks", 0, {"blocks": entry.limits.device_blocks}))
            case EventEntry():
                drawing.now_us = entry.event.now_us
                drawing.event(entry.event)
            case DecideEntry():
                drawing.now_us = entry.now_us
            case DecisionEntry():
                drawing.decision(entry.decision)
            case _:
                pass
        drawing.count_turns()
        yield from drawing.out
        drawing.out.clear()
    drawing.close()
    yield from drawing.out


def _name(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _counter(name: str, now_us: int, values: dict[str, int]) -> dict[str, Any]:
    return {"name": name, "ph": "C", "pid": _ENGINE, "tid": 0, "ts": now_us, "args": values}


class _Drawing:
    """Follows the lanes; ``out`` holds the trace events that are ready."""

    def __init__(self) -> None:
        self.out: list[dict[str, Any]] = []
        self.now_us = 0
        self._lanes: dict[tuple[str, str, str], _Lane] = {}
        self._live: dict[str, _Live] = {}
        self._batch: RunBatch | None = None
        self._swaps: dict[int, _Lane] = {}
        self._counted: dict[str, int] = {}
        self._free_blocks = -1

    # Lanes

    def _lane(self, tenant: str, session_id: str, context_id: str) -> _Lane:
        key = (tenant, session_id, context_id)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(len(self._lanes) + 1, key)
            first = all(other[:2] != key[:2] or other == key for other in self._lanes)
            name = session_id if first else f"{session_id} / {context_id}"
            self.out.append(_name("thread_name", _SESSIONS, lane.tid, name))
        return lane

    def _show(self, lane: _Lane) -> None:
        """End the span that is shown and begin the next, where they differ."""
        shown = lane.swap or lane.doing
        if shown == lane.shown:
            return
        self._end_span(lane)
        lane.shown, lane.since_us = shown, self.now_us

    def _end_span(self, lane: _Lane) -> None:
        if lane.shown and self.now_us > lane.since_us:
            times = {"ts": lane.since_us, "dur": self.now_us - lane.since_us}
            args = {"turn": lane.turn_id}
            span = {"name": lane.shown, "ph": "X", "pid": _SESSIONS, "tid": lane.tid, **times, "args": args}
            self.out.append(span)

    def _do(self, lane: _Lane, doing: str) -> None:
        lane.doing = doing
        self._show(lane)

    def close(self) -> None:
        """End what is shown at the end of the trace."""
        for lane in self._lanes.values():
            self._end_span(lane)

    def count_turns(self) -> None:
        """Draw the counters where they changed."""
        running = sum(live.running for live in self._live.values()) if self._live else 0
        counted = {"running": running, "waiting": len(self._live) - running}
        if counted != self._counted:
            self._counted = counted
            self.out.append(_counter("turns", self.now_us, counted))

    # Events

    def event(self, event: Event) -> None:
        """Follow an event."""
        match event:
            case TurnArrived():
                self._arrived(event)
            case BatchDone():
                self._batch_done(event)
            case BatchOverdue():
                for turn_id in [name for name, live in self._live.items() if live.running]:
                    self._gone(turn_id)
                self._batch = None
            case TurnCancelled():
                self._gone(event.turn_id)
            case JobCancelled():
                key = (event.tenant, event.job_id)
                for turn_id in [name for name, live in self._live.items() if live.job == key]:
                    self._gone(turn_id)
            case SessionClosed():
                self._closed(event)
            case ToolReturned():
                self._do(self._lane(event.tenant, event.session_id, event.context_id), "")
            case SwapDone() | SwapOverdue():
                self._swapped(event.op_id)
            case _:
                pass

    def _arrived(self, event: TurnArrived) -> None:
        lane = self._lane(event.tenant, event.session_id, event.context_id)
        self._live[event.turn_id] = _Live(lane, (event.tenant, event.job_id), event.context_tokens)
        self._do(lane, "")
        lane.turn_id = event.turn_id
        self._do(lane, "queued")

    def _batch_done(self, event: BatchDone) -> None:
        batch, self._batch = self._batch, None
        for chunk in batch.chunks if batch is not None else ():
            live = self._live.get(chunk.turn_id)
            if live is None or not event.steps:
                continue
            live.held_tokens += chunk.tokens * event.steps
            if live.held_tokens >= live.goal_tokens:
                live.goal_tokens = live.held_tokens + 1
                self._do(live.lane, "decode")
        for outcome in event.ended:
            waits = f"tool wait: {outcome.tool}" if outcome.outcome is Outcome.TOOL_CALL else ""
            self._gone(outcome.turn_id, waits)

    def _gone(self, turn_id: str, then: str = "") -> None:
        live = self._live.pop(turn_id, None)
        if live is not None:
            self._do(live.lane, then)

    def _closed(self, event: SessionClosed) -> None:
        for turn_id, live in list(self._live.items()):
            if live.lane.key[:2] == (event.tenant, event.session_id):
                self._gone(turn_id)
        for key, lane in self._lanes.items():
            if key[:2] == (event.tenant, event.session_id):
                self._do(lane, "")

    def _swapped(self, op_id: int) -> None:
        lane = self._swaps.pop(op_id, None)
        if lane is not None and lane.swap_op == op_id:
            lane.swap = ""
            self._show(lane)

    # Decisions

    def decision(self, decision: Decision) -> None:
        """Follow a decision."""
        match decision:
            case RunBatch():
                self._batch = decision
                for dispatch in decision.dispatched:
                    self._dispatched(dispatch)
                free = dict(decision.because.numbers).get("free_blocks", self._free_blocks)
                if free != self._free_blocks:
                    self._free_blocks = free
                    self.out.append(_counter("free device blocks", self.now_us, {"blocks": free}))
            case SwapOut() | SwapIn():
                lane = self._lane(decision.tenant, decision.session_id, decision.context_id)
                lane.swap = "swap out" if isinstance(decision, SwapOut) else "swap in"
                lane.swap_op = decision.op_id
                self._swaps[decision.op_id] = lane
                self._show(lane)
            case Preempt():
                live = self._live.get(decision.turn_id)
                if live is not None:
                    live.running = False
                    self._do(live.lane, "queued")
            case Refuse():
                self._gone(decision.turn_id)
            case _:
                pass

    def _dispatched(self, dispatch: Dispatch) -> None:
        live = self._live.get(dispatch.turn_id)
        if live is None:
            return
        live.running, live.held_tokens = True, dispatch.start_tokens
        left = live.goal_tokens - dispatch.start_tokens
        self._do(live.lane, "prefill" if left > 1 else "decode")
