"""What one decision costs, measured on the public scheduler: a long queue, and a large steady batch.

**Long queue.** With so many turns waiting, each round picks 16 of them in one ``decide``; then the 16 end and 16 new
ones arrive, so that the queue stays as long. Only ``decide`` is timed, exact bypass bookkeeping included. It is timed
twice: before any job has been passed K times, and *at the bound*, when the oldest jobs are promoted one after the other
and most of what is picked are theirs. Beside it, on as many waiting entries and in the same rounds: a full sort by
response ratio, and ``heapq.nlargest``.

**Steady batch.** 256 turns are decoding; ``handle`` of one reported step and the ``decide`` after it are timed.

As in the standard ``timeit``, the garbage collector is off while a round is timed.
"""

from __future__ import annotations

import gc
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns

from attrs import frozen

from astraea import Limits, Scheduler
from astraea.decisions import Decision, RunBatch
from astraea.events import BatchDone, Outcome, SessionClosed, TurnArrived, TurnOutcome
from astraea.simulator.verdict import percentile
from astraea.simulator.workloads.dice import Dice

__all__ = ["PICKED", "QUEUE_LENGTHS", "RUNNING", "QueueCost", "Spread", "queue_cost", "running_cost"]

PICKED = 16
QUEUE_LENGTHS = (1_000, 10_000, 100_000)
RUNNING = 256
_POOL_BLOCKS = 4_000_000
_CONTEXT_TOKENS_MAX = 32_000
_ARRIVAL_GAP_US = 700
_STEP_US = 9_000
_WARM_UP_ROUNDS = 20


@frozen(slots=True)
class Spread:
    """Wall times of many rounds, in microseconds, by the nearest-rank rule."""

    p50_us: float
    p99_us: float

    @staticmethod
    def of(times_ns: list[int]) -> Spread:
        """Return the spread of times in nanoseconds."""
        return Spread(percentile(times_ns, 50) / 1000, percentile(times_ns, 99) / 1000)


@frozen(slots=True)
class QueueCost:
    """Picking 16 of a queue, three ways."""

    decide: Spread
    at_bound: Spread
    full_sort: Spread
    nlargest: Spread


def queue_cost(waiting: int, rounds: int) -> QueueCost:
    """Measure with so many turns waiting; the plain ways get fewer rounds where the queue is long."""
    plain_rounds = max(5, min(rounds, 2_000_000 // waiting))
    return QueueCost(
        Spread.of(_picking(waiting, rounds, at_bound=False)),
        Spread.of(_picking(waiting, rounds, at_bound=True)),
        Spread.of(_plain(waiting, plain_rounds, _full_sort)),
        Spread.of(_plain(waiting, plain_rounds, _nlargest)),
    )


def _picking(waiting: int, rounds: int, *, at_bound: bool) -> list[int]:
    """Return the time of each ``decide`` that picks 16: with nobody at the bypass bound, or once jobs are there."""
    dice = Dice(0)
    bypass_max = Limits(device_blocks=1).bypass_max
    warm_up = _WARM_UP_ROUNDS
    if at_bound:
        warm_up += bypass_max // PICKED
    else:
        bypass_max = max(bypass_max, PICKED * (warm_up + rounds) + 1)
    core = Scheduler(
        Limits(
            device_blocks=_POOL_BLOCKS,
            step_tokens_max=PICKED * _CONTEXT_TOKENS_MAX,
            batch_turns_max=PICKED,
            bypass_max=bypass_max,
            turns_max=waiting + PICKED,
            tenant_turns_max=waiting + PICKED,
        )
    )
    now_us = 0
    for number in range(waiting):
        now_us += _ARRIVAL_GAP_US
        core.handle(_arrival(number, now_us, dice))
    number, times_ns = waiting, []
    with _no_collection():
        for _ in range(warm_up + rounds):
            began = perf_counter_ns()
            decisions = core.decide(now_us)
            times_ns.append(perf_counter_ns() - began)
            batch = _batch(decisions)
            assert len(batch.dispatched) == PICKED, "one decide picks 16"
            now_us += _STEP_US
            names = [dispatch.turn_id for dispatch in batch.dispatched]
            ended = tuple(TurnOutcome(name, Outcome.FINAL) for name in names)
            core.handle(BatchDone(now_us, batch.batch_id, 1, ended))
            for name in names:
                core.handle(SessionClosed(now_us, "bench", name))
            for _ in range(PICKED):
                core.handle(_arrival(number, now_us, dice))
                number += 1
    return times_ns[warm_up:]


def running_cost(rounds: int) -> Spread:
    """Measure ``handle`` of one step of 256 decoding turns and the ``decide`` after it."""
    core = Scheduler(Limits(device_blocks=_POOL_BLOCKS, batch_turns_max=RUNNING))
    for number in range(RUNNING):
        core.handle(
            TurnArrived(
                now_us=0, tenant="bench", session_id=f"s{number}", job_id=f"j{number}", turn_id=f"t{number}",
                context_id="main", context_tokens=1_000 + number, reusable_tokens=0, max_output_tokens=200_000,
            )
        )  # fmt: skip
    now_us, batch = 0, _batch(core.decide(0))
    while len(batch.chunks) < RUNNING or any(chunk.tokens > 1 for chunk in batch.chunks):
        now_us += _STEP_US
        core.handle(BatchDone(now_us, batch.batch_id, 1))
        batch = _batch(core.decide(now_us))
    times_ns = []
    with _no_collection():
        for _ in range(_WARM_UP_ROUNDS + rounds):
            now_us += _STEP_US
            report = BatchDone(now_us, batch.batch_id, 1)
            began = perf_counter_ns()
            core.handle(report)
            decisions = core.decide(now_us)
            times_ns.append(perf_counter_ns() - began)
            batch = _batch(decisions)
    return Spread.of(times_ns[_WARM_UP_ROUNDS:])


def _arrival(number: int, now_us: int, dice: Dice) -> TurnArrived:
    """Return the first turn of a new job; contexts from 100 to 25,600 tokens, as many short as long by logarithm."""
    name = f"t{number}"
    return TurnArrived(
        now_us=now_us, tenant="bench", session_id=name, job_id=name, turn_id=name, context_id="main",
        context_tokens=int(100 * 2 ** (8 * dice.uniform())), reusable_tokens=0, max_output_tokens=1_000,
    )  # fmt: skip


def _batch(decisions: list[Decision]) -> RunBatch:
    (batch,) = (decision for decision in decisions if isinstance(decision, RunBatch))
    return batch


_Entry = tuple[int, int]
"""When a turn became ready and its size, both in microseconds."""


def _plain(waiting: int, rounds: int, pick: Callable[[list[_Entry], int], list[_Entry]]) -> list[int]:
    """Return the time of each pick of 16 entries by response ratio."""
    dice = Dice(0)
    entries = [(number * _ARRIVAL_GAP_US, 1 + int(1_000 * 2 ** (8 * dice.uniform()))) for number in range(waiting)]
    now_us, times_ns = waiting * _ARRIVAL_GAP_US, []
    with _no_collection():
        for _ in range(rounds):
            now_us += _STEP_US
            began = perf_counter_ns()
            picked = pick(entries, now_us)
            times_ns.append(perf_counter_ns() - began)
            assert len(picked) == PICKED
    return times_ns


def _full_sort(entries: list[_Entry], now_us: int) -> list[_Entry]:
    return sorted(entries, key=lambda entry: (now_us - entry[0]) / entry[1], reverse=True)[:PICKED]


def _nlargest(entries: list[_Entry], now_us: int) -> list[_Entry]:
    return heapq.nlargest(PICKED, entries, key=lambda entry: (now_us - entry[0]) / entry[1])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect now, and not again before the end."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
