"""What each batch of a recorded run computed and how long it took, read off the trace.

For the trace of a real engine these are measurements: the time of a batch is all that passed from the report before it
to its own, the scheduler's time and the engine's bookkeeping included. Only idle time is not: where the engine had
nothing to run in between, the time begins with the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from astraea.decisions import RunBatch
from astraea.events import BatchDone, BatchOverdue
from astraea.trace.entries import DecideEntry, DecisionEntry, Entry, EventEntry

__all__ = ["RanBatch", "ran_batches"]


@frozen(slots=True)
class RanBatch:
    """One batch that was reported."""

    chunks: tuple[tuple[int, int], ...]
    """For each turn: the KV tokens that it held before the first step, and the tokens that it computed in each step."""
    steps: int
    begin_us: int
    end_us: int

    @property
    def step_us(self) -> float:
        """Mean time of its steps."""
        return (self.end_us - self.begin_us) / self.steps


def ran_batches(entries: Iterable[Entry]) -> Iterator[RanBatch]:
    """Yield the batches that ran at least one step, in order."""
    held: dict[str, int] = {}
    owed: RunBatch | None = None
    begin_us = decide_us = 0
    reported_us: int | None = None
    asked = False
    for entry in entries:
        match entry:
            case DecideEntry():
                if owed is None and asked:
                    reported_us = None  # the decide before this one had nothing to run: the engine was idle
                decide_us, asked = entry.now_us, True
            case DecisionEntry(decision=RunBatch() as batch):
                owed = batch
                begin_us = decide_us if reported_us is None else reported_us
                held.update((dispatch.turn_id, dispatch.start_tokens) for dispatch in batch.dispatched)
            case EventEntry(event=BatchDone() as done):
                if owed is not None and done.steps:
                    chunks = tuple((held[chunk.turn_id], chunk.tokens) for chunk in owed.chunks)
                    yield RanBatch(chunks, done.steps, begin_us, done.now_us)
                    for chunk in owed.chunks:
                        held[chunk.turn_id] += chunk.tokens * done.steps
                owed, reported_us, asked = None, done.now_us, False
            case EventEntry(event=BatchOverdue()):
                owed, reported_us = None, None
            case _:
                pass
