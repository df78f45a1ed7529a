"""The scheduler's verbs as the engine uses them: at the time of a clock that never runs back, and recorded if asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from astraea.decisions import Decision
from astraea.errors import ContractError
from astraea.events import Event
from astraea.policy.core import Scheduler
from astraea.trace.recorder import TraceRecorder

__all__ = ["Observer", "Verbs"]

Observer: TypeAlias = Callable[[Sequence[Decision], int], None]
"""Hears what was decided and in how many nanoseconds; in the engine's thread, so it is quick and does not raise."""


class Verbs:
    """One scheduler, its clock and its trace."""

    def __init__(
        self,
        core: Scheduler,
        clock: Callable[[], int],
        recorder: TraceRecorder | None,
        observer: Observer | None = None,
    ) -> None:
        self.core = core
        self._observer = observer
        self._clock = clock
        self._recorder = recorder
        self._now_us = 0

    def now_us(self) -> int:
        """Return the time in microseconds, never less than before."""
        self._now_us = max(self._now_us, self._clock())
        return self._now_us

    def handle(self, event: Event) -> None:
        """Tell the scheduler; raise :class:`ContractError` where it refuses to hear it."""
        self.core.handle(event)
        if self._recorder is not None:
            self._recorder.event(event)

    def offer(self, event: Event) -> str:
        """Tell the scheduler something that may have become impossible meanwhile; return why it was, or nothing."""
        try:
            self.handle(event)
        except ContractError as error:
            return str(error)
        return ""

    def decide(self) -> list[Decision]:
        """Return what is owed now."""
        now_us = self.now_us()
        began_ns = time.perf_counter_ns()
        decisions = self.core.decide(now_us)
        if self._observer is not None:
            self._observer(decisions, time.perf_counter_ns() - began_ns)
        if self._recorder is not None:
            self._recorder.decided(now_us, decisions)
        return decisions

    def live_turns(self) -> set[str]:
        """Return the ids of the turns that the scheduler has."""
        return {turn.turn_id for turn in self.core.snapshot().turns}

    def close(self) -> None:
        """End the trace."""
        if self._recorder is not None:
            self._recorder.close()
