"""Events, decisions and limits go to JSON and back unchanged, and nothing else is read as one."""

from __future__ import annotations

import json

import pytest

from astraea.decisions import (
    Because,
    Chunk,
    Dispatch,
    DropCache,
    Hold,
    Preempt,
    Reason,
    Refuse,
    RunBatch,
    SwapIn,
    SwapOut,
    WakeAt,
)
from astraea.errors import TraceError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Hints,
    JobCancelled,
    Oracle,
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
from astraea.policy.limits import EngineCosts, Limits, Tuning
from astraea.trace.codec import (
    canonical_json,
    decision_from_json,
    decision_to_json,
    event_from_json,
    event_to_json,
    limits_from_json,
    limits_to_json,
    parse_line,
)

ARRIVED = TurnArrived(5, "t", "s", "j", "a", "c", 8, 0, 4)
WHY = Because(Reason.NO_ROOM, (("need_blocks", 3), ("free_blocks", 1)))
EVENTS = [
    ARRIVED,
    TurnArrived(
        5, "t", "s", "j", 'a "quoted" \ud800 \N{SNOWMAN}', "c", 8, 2, 4, SharedPrefix("p", 4),
        Hints(3, 4, "parent", Oracle(5, 6)),
    ),
    TurnCancelled(1, "a"),
    JobCancelled(1, "t", "j"),
    BatchDone(1, 2, 3),
    BatchDone(1, 2, 3, (TurnOutcome("a", Outcome.TOOL_CALL, "ls"), TurnOutcome("b", Outcome.FAILED))),
    BatchOverdue(1, 2),
    ToolReturned(1, "t", "s", "c"),
    SwapDone(1, 2),
    SwapDone(1, 2, failed=True),
    SwapOverdue(1, 2),
    SessionClosed(1, "t", "s"),
    Drain(1),
]  # fmt: skip
DECISIONS = [
    RunBatch(1, (Chunk("a", 8), Chunk("b", 1)), 4, Because(Reason.STEADY), (Dispatch("a", 0, WHY),)),
    SwapOut(1, "t", "s", "c", 0, 8, 4, WHY),
    SwapIn(1, "a", "t", "s", "c", 0, 8, WHY),
    DropCache("t", "s", "c", "", True, 4, 2, WHY),
    Preempt("a", WHY),
    Refuse("a", None, WHY),
    Refuse("a", 7, WHY),
    Hold("a", WHY),
    WakeAt(9, WHY),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_an_event_goes_there_and_back(event):
    text = canonical_json(event_to_json(event))
    assert text.isascii()
    assert event_from_json(parse_line(text)) == event


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda d: type(d).__name__)
def test_a_decision_goes_there_and_back(decision):
    assert decision_from_json(parse_line(canonical_json(decision_to_json(decision)))) == decision


def test_a_line_is_short_and_readable():
    assert canonical_json(event_to_json(ARRIVED)) == (
        '{"event":"TurnArrived","now_us":5,"tenant":"t","session_id":"s","job_id":"j","turn_id":"a","context_id":"c",'
        '"context_tokens":8,"reusable_tokens":0,"max_output_tokens":4}'
    )
    assert canonical_json(decision_to_json(DECISIONS[0])) == (
        '{"decision":"RunBatch","batch_id":1,"chunks":[["a",8],["b",1]],"max_steps":4,"because":{"reason":"steady"},'
        '"dispatched":[{"turn_id":"a","start_tokens":0,'
        '"because":{"reason":"no_room","numbers":{"need_blocks":3,"free_blocks":1}}}]}'
    )


def test_limits_go_there_and_back_with_all_that_is_in_them():
    limits = Limits(device_blocks=7, costs=EngineCosts(step_ns=5), tuning=Tuning(shrinkage=2), tenant_kv_blocks_max=3)
    record = json.loads(canonical_json(limits_to_json(limits)))
    assert limits_from_json(record) == limits
    assert record["costs"]["swap_ns_per_token"] == EngineCosts().swap_ns_per_token, "defaults may change, files do not"
    assert limits_from_json({"device_blocks": 7}) == Limits(device_blocks=7)


def with_field(base, **fields):
    return {name: value for name, value in {**base, **fields}.items() if value is not ...}


GOOD = event_to_json(ARRIVED)
BATCH = decision_to_json(DECISIONS[0])


@pytest.mark.parametrize(
    ("read", "record", "sentence"),
    [
        (event_from_json, with_field(GOOD, event="Nap"), '"Nap" is no event; known are TurnArrived'),
        (event_from_json, with_field(GOOD, event=3), "3 is no event"),
        (event_from_json, with_field(GOOD, event=["TurnArrived"]), "is no event"),
        (event_from_json, with_field(GOOD, tenant=...), "TurnArrived lacks the field tenant"),
        (event_from_json, with_field(GOOD, mood="good"), 'TurnArrived has no field "mood"'),
        (event_from_json, with_field(GOOD, now_us=True), "now_us must be a whole number, not true or false"),
        (event_from_json, with_field(GOOD, now_us=1.0), "now_us must be a whole number, not a fraction"),
        (event_from_json, with_field(GOOD, now_us=None), "now_us must be a whole number, not null"),
        (event_from_json, with_field(GOOD, tenant=1), "tenant must be a text, not a whole number"),
        (event_from_json, with_field(GOOD, shared_prefix=3), "shared_prefix must be an object, not a whole number"),
        (event_from_json, with_field(GOOD, shared_prefix={"tokens": 3}), "shared_prefix lacks the field prefix_id"),
        (event_from_json, with_field(GOOD, hints={"oracle": {"a": 1}}), 'hints oracle has no field "a"'),
        (event_from_json, {"event": "SwapDone", "now_us": 1, "op_id": 2, "failed": 1}, "failed must be true or false"),
        (
            event_from_json,
            {"event": "BatchDone", "now_us": 1, "batch_id": 1, "steps": 1, "ended": [{"turn_id": "a", "outcome": "x"}]},
            'ended outcome "x" is not one of tool_call, final, length, failed',
        ),
        (decision_from_json, with_field(BATCH, decision="Rest"), '"Rest" is no decision'),
        (decision_from_json, with_field(BATCH, chunks=[["a"]]), "chunks must hold pairs"),
        (decision_from_json, with_field(BATCH, chunks=[["a", True]]), "chunks must hold pairs"),
        (decision_from_json, with_field(BATCH, chunks={"a": 1}), "chunks must be a list, not an object"),
        (decision_from_json, with_field(BATCH, because={"reason": "mood"}), 'because reason "mood" is not one of'),
        (decision_from_json, with_field(BATCH, because={"reason": "steady", "numbers": [1]}), "numbers must be an obj"),
        (
            decision_from_json,
            with_field(BATCH, because={"reason": "steady", "numbers": {"free": "x" * 99}}),
            "because numbers free must be a whole number, not a text",
        ),
        (limits_from_json, {}, "limits lacks the field device_blocks"),
        (limits_from_json, None, "limits must be an object, not null"),
        (limits_from_json, {"device_blocks": 0}, "limits is not allowed: 'device_blocks' must be > 0"),
        (limits_from_json, {"device_blocks": 1, "tuning": {"x": 1}}, 'limits tuning has no field "x"'),
    ],
)
def test_what_is_no_record_is_refused_with_its_line(read, record, sentence):
    with pytest.raises(TraceError) as caught:
        read(record, source="run.ndjson", line=7)
    assert str(caught.value).startswith("run.ndjson:7: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "expected an object, found a list"),
        ('{"a":1,"a":2}', "names the same field twice"),
        ('{"a":NaN}', "NaN is no number"),
        ('{"a":' + "9" * 5000 + "}", "not readable as JSON"),
        ('{"a":' * 100_000, "not readable as JSON"),
        ("\x80\x04K*.", "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(text, sentence):
    with pytest.raises(TraceError, match=sentence):
        parse_line(text, source="x", line=1)
