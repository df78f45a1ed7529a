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
from astraea.trace.perfetto_lanes import ENGINE, SESSIONS, Lane, Lanes, counter_event, name_event

__all__ = ["perfetto_events", "to_perfetto"]


@define(slots=True, eq=False)
class _Live:
    """A live turn."""

    lane: Lane
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
    yield from (name_event("process_name", ENGINE, 0, "engine"), name_event("process_name", SESSIONS, 0, "sessions"))
    for entry in entries:
        match entry:
            case TraceHeader():
                drawing.out.append(counter_event("free device blocks", 0, {"blocks": entry.limits.device_blocks}))
            case EventEntry():
                drawing.lanes.now_us = entry.event.now_us
                drawing.event(entry.event)
            case DecideEntry():
                drawing.lanes.now_us = entry.now_us
            case DecisionEntry():
                drawing.decision(entry.decision)
            case _:
                pass
        drawing.count_turns()
        yield from drawing.out
        drawing.out.clear()
    drawing.lanes.close()
    yield from drawing.out


class _Drawing:
    """Follows the lanes; ``out`` holds the trace events that are ready."""

    def __init__(self) -> None:
        self.out: list[dict[str, Any]] = []
        self.lanes = Lanes(self.out)
        self._live: dict[str, _Live] = {}
        self._batch: RunBatch | None = None
        self._swaps: dict[int, Lane] = {}
        self._counted: dict[str, int] = {}
        self._free_blocks = -1

    def count_turns(self) -> None:
        """Draw the counters where they changed."""
        running = sum(live.running for live in self._live.values()) if self._live else 0
        counted = {"running": running, "waiting": len(self._live) - running}
        if counted != self._counted:
            self._counted = counted
            self.out.append(counter_event("turns", self.lanes.now_us, counted))

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
                self.lanes.do(self.lanes.lane(event.tenant, event.session_id, event.context_id), "")
            case SwapDone() | SwapOverdue():
                self._swapped(event.op_id)
            case _:
                pass

    def _arrived(self, event: TurnArrived) -> None:
        lane = self.lanes.lane(event.tenant, event.session_id, event.context_id)
        self._live[event.turn_id] = _Live(lane, (event.tenant, event.job_id), event.context_tokens)
        self.lanes.do(lane, "")
        lane.turn_id = event.turn_id
        self.lanes.do(lane, "queued")

    def _batch_done(self, event: BatchDone) -> None:
        batch, self._batch = self._batch, None
        for chunk in batch.chunks if batch is not None else ():
            live = self._live.get(chunk.turn_id)
            if live is None or not event.steps:
                continue
            live.held_tokens += chunk.tokens * event.steps
            if live.held_tokens >= live.goal_tokens:
                live.goal_tokens = live.held_tokens + 1
                self.lanes.do(live.lane, "decode")
        for outcome in event.ended:
            waits = f"tool wait: {outcome.tool}" if outcome.outcome is Outcome.TOOL_CALL else ""
            self._gone(outcome.turn_id, waits)

    def _gone(self, turn_id: str, then: str = "") -> None:
        live = self._live.pop(turn_id, None)
        if live is not None:
            self.lanes.do(live.lane, then)

    def _closed(self, event: SessionClosed) -> None:
        for turn_id, live in list(self._live.items()):
            if live.lane.key[:2] == (event.tenant, event.session_id):
                self._gone(turn_id)
        for lane in self.lanes.of_session(event.tenant, event.session_id):
            self.lanes.do(lane, "")

    def _swapped(self, op_id: int) -> None:
        lane = self._swaps.pop(op_id, None)
        if lane is not None and lane.swap_op == op_id:
            lane.swap = ""
            self.lanes.show(lane)

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
                    self.out.append(counter_event("free device blocks", self.lanes.now_us, {"blocks": free}))
            case SwapOut() | SwapIn():
                lane = self.lanes.lane(decision.tenant, decision.session_id, decision.context_id)
                lane.swap = "swap out" if isinstance(decision, SwapOut) else "swap in"
                lane.swap_op = decision.op_id
                self._swaps[decision.op_id] = lane
                self.lanes.show(lane)
            case Preempt():
                live = self._live.get(decision.turn_id)
                if live is not None:
                    live.running = False
                    self.lanes.do(live.lane, "queued")
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
        self.lanes.do(live.lane, "prefill" if left > 1 else "decode")
