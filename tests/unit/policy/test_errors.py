"""Each rule that a driver can break: it is named, and nothing has changed (INV-8)."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import evolve

import astraea.policy
from astraea import ContractError, Limits, Scheduler
from astraea.decisions import RunBatch
from astraea.errors import AstraeaError, InvariantError, TraceError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Hints,
    JobCancelled,
    Outcome,
    SessionClosed,
    SharedPrefix,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)

ARRIVED = TurnArrived(
    now_us=20, tenant="acme", session_id="s", job_id="j", turn_id="new", context_id="new", context_tokens=8,
    reusable_tokens=0, max_output_tokens=4,
)  # fmt: skip
FINAL = TurnOutcome("t1", Outcome.FINAL)


def at_work() -> Scheduler:
    """Batch 2 is owed: t1 decodes, t2 computes its prompt in chunks, t3 waits; c waits for a tool."""
    core = Scheduler(Limits(device_blocks=32, block_tokens=4, step_tokens_max=16, batch_turns_max=2))
    core.handle(evolve(ARRIVED, now_us=0, turn_id="t0", context_id="c"))
    core.handle(evolve(ARRIVED, now_us=0, turn_id="t1", context_id="a"))
    core.decide(0)
    core.handle(BatchDone(5, 1, 1, (TurnOutcome("t0", Outcome.TOOL_CALL, "grep"),)))
    core.handle(evolve(ARRIVED, now_us=5, turn_id="t2", context_id="b", context_tokens=40))
    core.handle(evolve(ARRIVED, now_us=5, turn_id="t3", session_id="other", job_id="other", context_tokens=60))
    (batch,) = (d for d in core.decide(10) if isinstance(d, RunBatch))
    assert [chunk.turn_id for chunk in batch.chunks] == ["t1", "t2"]
    return core


CASES = {
    "clock-backwards": [Drain(9)],
    "unknown-event": [SimpleNamespace(now_us=20)],
    "bad-number": [
        evolve(ARRIVED, context_tokens=0),
        evolve(ARRIVED, reusable_tokens=-1),
        evolve(ARRIVED, reusable_tokens=9),
        evolve(ARRIVED, max_output_tokens=0),
        evolve(ARRIVED, shared_prefix=SharedPrefix("sys", -1)),
    ],
    "turn-id-live": [evolve(ARRIVED, turn_id="t1")],
    "context-busy": [evolve(ARRIVED, context_id="a")],
    "job-elsewhere": [evolve(ARRIVED, session_id="third"), evolve(ARRIVED, job_id="other", session_id="third")],
    "unknown-turn": [TurnCancelled(20, "t0"), TurnCancelled(20, "nobody")],
    "unknown-job": [JobCancelled(20, "acme", "nothing"), JobCancelled(20, "another tenant", "j")],
    "no-tool-wait": [
        ToolReturned(20, "acme", "s", "a"),
        ToolReturned(20, "acme", "s", "nowhere"),
        ToolReturned(20, "acme", "nowhere", "c"),
    ],
    "unknown-session": [SessionClosed(20, "acme", "nowhere"), SessionClosed(20, "another tenant", "s")],
    "unknown-batch": [BatchDone(20, 1, 1), BatchDone(20, 3, 1), BatchOverdue(20, 1)],
    "bad-steps": [BatchDone(20, 2, -1), BatchDone(20, 2, 1_000)],
    "ended-twice": [BatchDone(20, 2, 1, (FINAL, FINAL))],
    "not-in-batch": [BatchDone(20, 2, 1, (TurnOutcome("t3", Outcome.FINAL),))],
    "ended-unsampled": [
        BatchDone(20, 2, 1, (TurnOutcome("t2", Outcome.FINAL),)),
        BatchDone(20, 2, 0, (FINAL,)),
    ],
    "tool-unnamed": [BatchDone(20, 2, 1, (TurnOutcome("t1", Outcome.TOOL_CALL),))],
    "over-maximum": [],
    "unknown-swap": [SwapDone(20, 1), SwapOverdue(20, 1)],
}


@pytest.mark.parametrize(("rule", "event"), [(rule, event) for rule, events in CASES.items() for event in events])
def test_a_broken_rule_is_named_and_nothing_changes(rule, event):
    core = at_work()
    before = core.snapshot()
    with pytest.raises(ContractError, match=f"^{rule}: ") as error:
        core.handle(event)
    assert error.value.rule == rule
    assert core.snapshot() == before
    assert core.decide(10) == []


def test_a_turn_at_its_maximum_must_be_reported_as_ended():
    core = Scheduler(Limits(device_blocks=8))
    core.handle(evolve(ARRIVED, now_us=0, max_output_tokens=1))
    core.decide(0)
    before = core.snapshot()
    with pytest.raises(ContractError, match=r"^over-maximum: "):
        core.handle(BatchDone(10, 1, 1))
    assert core.snapshot() == before
    core.handle(BatchDone(10, 1, 1, (TurnOutcome("new", Outcome.LENGTH),)))


def test_decide_refuses_a_clock_that_runs_backwards():
    core = at_work()
    with pytest.raises(ContractError, match=r"^clock-backwards: "):
        core.decide(9)


def test_a_second_overdue_of_one_copy_is_one_too_many():
    limits = Limits(device_blocks=16, host_blocks=16, block_tokens=4)
    core = Scheduler(limits)
    core.handle(evolve(ARRIVED, now_us=0, context_tokens=32))
    core.decide(0)
    core.handle(BatchDone(10, 1, 1, (TurnOutcome("new", Outcome.FINAL),)))
    core.handle(evolve(ARRIVED, now_us=20, turn_id="t2", session_id="t", job_id="k", context_tokens=48))
    core.decide(20)
    (op_id,) = core.snapshot().copies_owed
    core.handle(SwapOverdue(30, op_id))
    before = core.snapshot()
    with pytest.raises(ContractError, match=r"^unknown-swap: "):
        core.handle(SwapOverdue(30, op_id))
    assert core.snapshot() == before


def test_every_rule_in_the_code_has_a_case_here():
    folder = Path(astraea.policy.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    assert set(re.findall(r'ContractError\(\s*"([a-z-]+)"', source)) == set(CASES)


def test_a_parent_hint_does_not_make_a_job_id_unique_again():
    core = at_work()
    joins = evolve(ARRIVED, session_id="child", job_id="below", hints=Hints(parent_job_id="j"))
    core.handle(joins)
    assert [turn.job_id for turn in core.snapshot().turns if turn.turn_id == "new"] == ["j"]


def test_errors_carry_what_they_are_about():
    assert InvariantError("INV-1", "a block is lost").claim == "INV-1"
    error = TraceError("run.ndjson", 7, "not a record")
    assert (error.source, error.line) == ("run.ndjson", 7)
    assert str(error) == "run.ndjson:7: not a record"
    assert isinstance(error, AstraeaError)
