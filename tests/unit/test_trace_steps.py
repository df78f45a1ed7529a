"""What a trace says of the batches that ran, against a simulated engine whose step time is known exactly."""

from __future__ import annotations

import pytest

from astraea.decisions import Because, Chunk, Dispatch, Reason, RunBatch
from astraea.events import BatchDone, BatchOverdue
from astraea.rivals import make_policy
from astraea.simulator.arrivals import poisson
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.generators import generate
from astraea.simulator.profiles import load_engine
from astraea.simulator.step_time import PS_PER_US, step_cost
from astraea.trace.entries import DecideEntry, DecisionEntry, EventEntry
from astraea.trace.reader import read_trace
from astraea.trace.recorder import TraceRecorder
from astraea.trace.steps import RanBatch, ran_batches

ENGINE = load_engine("gptj-6b-a100")


@pytest.mark.parametrize("rate", [0.05, 2.0])
def test_a_simulated_batch_took_what_the_model_says(rate, tmp_path):
    limits = limits_for(ENGINE, host_ratio=0.5)
    file = tmp_path / "trace.ndjson"
    policy = make_policy("astraea", limits)
    with TraceRecorder(file, limits, "astraea", blocking=policy.blocking) as recorder:
        jobs = poisson(generate("infercept-mix", 30, 0), rate, 0)
        result = simulate(jobs, ENGINE, "astraea", host_ratio=0.5, recorder=recorder)
    batches = list(ran_batches(read_trace(file)))
    assert sum(batch.steps for batch in batches) == result.steps
    for batch in batches:
        expected_us = step_cost(ENGINE, batch.chunks).total_ps(batch.steps) / PS_PER_US
        assert batch.end_us - batch.begin_us == pytest.approx(expected_us, abs=2)


def batch(number, *chunks, dispatched=()):
    because = Because(Reason.STEADY)
    return DecisionEntry(
        0,
        RunBatch(
            number, tuple(Chunk(*chunk) for chunk in chunks), 8, because,
            tuple(Dispatch(turn_id, start, because) for turn_id, start in dispatched),
        ),
    )  # fmt: skip


def test_the_schedulers_time_counts_and_idle_time_does_not():
    entries = [
        DecideEntry(0, 10), batch(1, ("a", 5), dispatched=[("a", 3)]), EventEntry(0, BatchDone(20, 1, 1)),
        DecideEntry(0, 22), batch(2, ("a", 1)), EventEntry(0, BatchDone(40, 2, 4)),
        DecideEntry(0, 41),
        DecideEntry(0, 90), batch(3, ("b", 2), dispatched=[("b", 0)]), EventEntry(0, BatchDone(99, 3, 1)),
    ]  # fmt: skip
    assert list(ran_batches(entries)) == [
        RanBatch(((3, 5),), 1, 10, 20),
        RanBatch(((8, 1),), 4, 20, 40),
        RanBatch(((0, 2),), 1, 90, 99),
    ]
    assert list(ran_batches(entries))[1].step_us == 5


def test_what_did_not_run_is_left_out():
    entries = [
        DecideEntry(0, 1), batch(1, ("a", 5), dispatched=[("a", 0)]), EventEntry(0, BatchDone(2, 1, 0)),
        DecideEntry(0, 2), batch(2, ("a", 5)), EventEntry(0, BatchOverdue(3, 2)), EventEntry(0, BatchDone(9, 2, 1)),
    ]  # fmt: skip
    assert list(ran_batches(entries)) == []
