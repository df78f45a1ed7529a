"""The lanes of a drawn trace: one for each context, in which spans follow each other and never cross."""

from __future__ import annotations

from typing import Any

from attrs import define

__all__ = ["ENGINE", "SESSIONS", "Lane", "Lanes", "counter_event", "name_event"]

ENGINE, SESSIONS = 1, 2
"""Process ids: counters stand under one, lanes under the other."""


@define(slots=True, eq=False)
class Lane:
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


def name_event(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    """Return the trace event that names a process or a lane."""
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def counter_event(name: str, now_us: int, values: dict[str, int]) -> dict[str, Any]:
    """Return the trace event that draws a counter."""
    return {"name": name, "ph": "C", "pid": ENGINE, "tid": 0, "ts": now_us, "args": values}


class Lanes:
    """All lanes; ``out`` takes the trace events that are ready."""

    def __init__(self, out: list[dict[str, Any]]) -> None:
        self.now_us = 0
        self._out = out
        self._lanes: dict[tuple[str, str, str], Lane] = {}

    def lane(self, tenant: str, session_id: str, context_id: str) -> Lane:
        """Return the lane of a context, made and named when it is first asked for."""
        key = (tenant, session_id, context_id)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(len(self._lanes) + 1, key)
            first = all(other[:2] != key[:2] or other == key for other in self._lanes)
            name = session_id if first else f"{session_id} / {context_id}"
            self._out.append(name_event("thread_name", SESSIONS, lane.tid, name))
        return lane

    def show(self, lane: Lane) -> None:
        """End the span that is shown and begin the next, where they differ."""
        shown = lane.swap or lane.doing
        if shown == lane.shown:
            return
        self._end_span(lane)
        lane.shown, lane.since_us = shown, self.now_us

    def _end_span(self, lane: Lane) -> None:
        if lane.shown and self.now_us > lane.since_us:
            times = {"ts": lane.since_us, "dur": self.now_us - lane.since_us}
            args = {"turn": lane.turn_id}
            span = {"name": lane.shown, "ph": "X", "pid": SESSIONS, "tid": lane.tid, **times, "args": args}
            self._out.append(span)

    def do(self, lane: Lane, doing: str) -> None:
        """Let a lane do something else; a swap that goes on hides it."""
        lane.doing = doing
        self.show(lane)

    def close(self) -> None:
        """End what is shown at the end of the trace."""
        for lane in self._lanes.values():
            self._end_span(lane)

    def of_session(self, tenant: str, session_id: str) -> list[Lane]:
        """Return the lanes of a session."""
        return [lane for key, lane in self._lanes.items() if key[:2] == (tenant, session_id)]
