"""What a recorded run came to in numbers: work done and done again, copies, preemptions, and how long jobs queued."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from astraea.decisions import Decision, Preempt, RunBatch, SwapIn, SwapOut
from astraea.events import BatchDone, Event, TurnArrived
from astraea.trace.entries import DecideEntry, DecisionEntry, Entry, EventEntry

__all__ = ["RunFigures", "run_figures"]


@define(slots=True, eq=False)
class _Queue:
    """Time during which some turn of a job waited."""

    us: int = 0
    waiting: int = 0
    since_us: int = 0

    def change(self, now_us: int, by: int) -> None:
        """Count a turn that begins (+1) or ceases (-1) to wait."""
        if self.waiting:
            self.us += now_us - self.since_us
        self.waiting += by
        self.since_us = now_us


@define(slots=True, eq=False)
class _Live:
    """A turn that has not ended."""

    arrival: TurnArrived
    held: int = 0
    sampled: int = 0

    @property
    def context(self) -> tuple[str, str, str]:
        """Whose history it continues."""
        return (self.arrival.tenant, self.arrival.session_id, self.arrival.context_id)


@define(slots=True, eq=False)
class RunFigures:
    """The figures of one run, as far as it was told of."""

    steps: int = 0
    prefill_tokens: int = 0
    """Prompt tokens computed, and output computed once more after a preemption."""
    recomputed_tokens: int = 0
    """Of these, tokens that had been computed before in the same context."""
    swapped_tokens: int = 0
    preemptions: int = 0
    _queues: dict[str, _Queue] = Factory(dict)
    _live: dict[str, _Live] = Factory(dict)
    _written: dict[tuple[str, str, str], int] = Factory(dict)
    """How far each context was computed and is still a prefix."""
    _batch: RunBatch | None = None

    def queue_us(self, job_id: str) -> int:
        """Return the time during which some turn of the job waited."""
        return self._queues[job_id].us

    def event(self, event: Event) -> None:
        """Follow an event."""
        match event:
            case TurnArrived():
                live = self._live[event.turn_id] = _Live(event)
                self._written[live.context] = min(self._written.get(live.context, 0), event.reusable_tokens)
                self._queues.setdefault(event.job_id, _Queue()).change(event.now_us, 1)
            case BatchDone():
                self._ran(event)
            case _:
                pass

    def decision(self, decision: Decision, now_us: int) -> None:
        """Follow a decision."""
        match decision:
            case RunBatch():
                self._batch = decision
                for dispatch in decision.dispatched:
                    live = self._live[dispatch.turn_id]
                    live.held = dispatch.start_tokens
                    self._queues[live.arrival.job_id].change(now_us, -1)
            case Preempt():
                self.preemptions += 1
                self._queues[self._live[decision.turn_id].arrival.job_id].change(now_us, 1)
            case SwapOut() | SwapIn():
                self.swapped_tokens += decision.to_tokens - decision.from_tokens
            case _:
                pass

    def _ran(self, done: BatchDone) -> None:
        batch, self._batch = self._batch, None
        self.steps += done.steps
        for chunk in batch.chunks if batch is not None else ():
            if chunk.turn_id in self._live:
                self._computed(self._live[chunk.turn_id], chunk.tokens * done.steps)
        for outcome in done.ended:
            self._live.pop(outcome.turn_id, None)

    def _computed(self, turn: _Live, tokens: int) -> None:
        begin, end = turn.held, turn.held + tokens
        known = turn.arrival.context_tokens + turn.sampled
        written = self._written[turn.context]
        if begin + 1 < known or not turn.sampled:
            filled = min(end, known)
            self.prefill_tokens += filled - begin
            self.recomputed_tokens += max(0, min(written, filled) - begin)
        self._written[turn.context] = max(written, end)
        turn.held = end
        turn.sampled += max(0, end - known + 1)


def run_figures(entries: Iterable[Entry]) -> RunFigures:
    """Return the figures of a trace in which no turn was cancelled or refused."""
    figures, now_us = RunFigures(), 0
    for entry in entries:
        match entry:
            case EventEntry():
                figures.event(entry.event)
            case DecideEntry():
                now_us = entry.now_us
            case DecisionEntry():
                figures.decision(entry.decision, now_us)
            case _:
                pass
    return figures
