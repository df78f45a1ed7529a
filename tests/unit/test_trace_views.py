"""A trace told in words for one turn, and drawn for all."""

from __future__ import annotations

import json
from itertools import pairwise

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
)
from astraea.errors import UsageError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    JobCancelled,
    Outcome,
    SessionClosed,
    SharedPrefix,
    SwapDone,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)
from astraea.policy.limits import Limits
from astraea.trace.entries import DecideEntry, DecisionEntry, EventEntry, TraceHeader
from astraea.trace.explain import explain_turn
from astraea.trace.perfetto import perfetto_events, to_perfetto
from astraea.trace.words import because_in_words, reason_in_words, seconds

RANKED = Because(Reason.RANKED, (("need_blocks", 1),))


def arrive(turn, now_us, tokens=8, reusable=0, *, session="s", context="c", prefix=None):
    return TurnArrived(now_us, "t", session, f"j-{session}", turn, context, tokens, reusable, 4, prefix)


def ended(turn, outcome, tool=None):
    return (TurnOutcome(turn, outcome, tool),)


def trace(*items):
    entries = [TraceHeader(1, "astraea", Limits(device_blocks=6), guarded=True)]
    for item in items:
        if isinstance(item, tuple):
            entries.append(DecideEntry(0, item[0]))
            entries += [DecisionEntry(0, decision) for decision in item[1:]]
        else:
            entries.append(EventEntry(0, item))
    return entries


def batch(batch_id, *chunks, free=3, **dispatched):
    entering = tuple(Dispatch(turn, start, RANKED) for turn, start in dispatched.items())
    why = Because(Reason.CHANGED, (("running_turns", 1), ("free_blocks", free)))
    return RunBatch(batch_id, tuple(Chunk(*chunk) for chunk in chunks), 9, why, entering)


DEMAND = Because(Reason.DEMAND, (("for_turn", 2), ("short_blocks", 2)))
STORY = trace(
    arrive("one", 0),
    arrive("giant", 0, 999, session="g"),
    (0, Refuse("giant", None, Because(Reason.NEVER_FITS)), batch(1, ("one", 8), one=0)),
    BatchDone(1_000_000, 1, 1),
    (1_000_000, batch(2, ("one", 1))),
    BatchDone(3_000_000, 2, 2, ended("one", Outcome.TOOL_CALL, "ls")),
    arrive("other", 4_000_000, session="o"),
    (4_000_000, DropCache("t", "s", "c", "", False, 4, 2, DEMAND), batch(3, ("other", 8), other=0)),
    arrive("two", 5_000_000, 14, 10),
    (5_000_000, Hold("two", Because(Reason.NO_ROOM, (("need_blocks", 3), ("wait_us", 1_500_000))))),
    BatchDone(5_500_000, 3, 1, ended("other", Outcome.FINAL)),
    (5_500_000, SwapOut(1, "t", "o", "c", 0, 8, 0, RANKED), batch(4, ("two", 10), two=4)),
    SwapDone(5_700_000, 1),
    BatchDone(6_000_000, 4, 1),
    (6_000_000, Preempt("two", Because(Reason.GROWTH))),
    (6_500_000, SwapIn(2, "two", "t", "s", "c", 0, 8, RANKED)),
    SwapDone(6_750_000, 2),
    (6_750_000, batch(5, ("two", 7), two=8)),
    BatchDone(8_000_000, 5, 1, ended("two", Outcome.FINAL)),
    (8_000_000,),
)


def test_a_turn_is_told_from_the_loss_of_its_cache_to_its_end():
    ranked = "it came first in the policy's order among what may run (need blocks 1)"
    demand = "another turn needed the room (for turn 2, short blocks 2), for turn 'other'"
    prompt = "14 tokens, 10 of them known from before, and at most 4 to produce"
    lost = "computed 6 again that its cache had lost"
    assert explain_turn(STORY, "two") == [
        f"4 s: its cache was cut to 4 tokens, which freed 2 blocks: {demand}",
        f"5 s: arrived for job 'j-s' in context 'c' of session 's': {prompt}",
        "5 s: had to wait: too few blocks were free or could be evicted for it (need blocks 3, wait 1.5 s)",
        f"5.5 s: was dispatched after waiting 0.5 s; {ranked}; it went on from 4 of 14 tokens and {lost}",
        "6 s: was preempted: a running turn needed its next block",
        f"6.5 s: 8 tokens of its cache were sent back to the device: {ranked}",
        "6.75 s: the copy back to the device ended",
        f"6.75 s: was dispatched after waiting 0.75 s; {ranked}; it went on from 8 of 15 tokens and {lost}",
        "8 s: ended with a final answer, 3 s after it arrived, with 2 tokens produced",
    ]


def test_a_first_turn_and_a_refused_one():
    first = explain_turn(STORY, "one")
    assert first[-1] == "3 s: ended in a call of the tool 'ls', 3 s after it arrived, with 3 tokens produced"
    assert first[1].startswith("0 s: was dispatched after waiting 0 s; ")
    refused = "0 s: was refused: prompt and output together exceed the usable pool"
    assert explain_turn(iter(STORY), "giant")[-1] == refused


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (TurnCancelled(2, "a"), "was cancelled by its client"),
        (JobCancelled(2, "t", "j-s"), "its job 'j-s' was cancelled"),
        (SessionClosed(2, "t", "s"), "its session was closed"),
        (BatchOverdue(2, 1), "the engine did not report its batch in time"),
        (BatchDone(2, 1, 0, ended("a", Outcome.FAILED)), "the engine could not run it"),
        (BatchDone(2, 1, 1, ended("a", Outcome.LENGTH)), "produced as many tokens as it may"),
    ],
)
def test_every_end_has_its_words(event, words):
    assert words in explain_turn(trace(arrive("a", 0), (0, batch(1, ("a", 4), a=4)), event), "a")[-1]


def test_others_that_passed_are_counted_and_shared_prefixes_are_told():
    prefixed = arrive("a", 0, prefix=SharedPrefix("p", 4))
    drop = DropCache("t", "", "", "p", False, 0, 1, Because(Reason.DEMAND))
    host = DropCache("t", "s", "c", "", True, 0, 1, Because(Reason.HOST_ROOM))
    told = explain_turn(
        trace(prefixed, (0, drop, host, batch(1, ("x", 1), x=0, y=0)), (1, batch(2, ("a", 1), a=0))), "a"
    )
    assert told[1] == "0 s: its shared prefix was dropped, which freed 1 blocks: another turn needed the room"
    assert told[2].startswith("0 s: its copy on the host was dropped")
    assert "during which 2 other turns were dispatched" in told[3]


def test_an_unknown_turn_is_a_usage_error_that_names_what_looks_alike():
    with pytest.raises(UsageError, match="no turn 'othr'; did you mean 'other'"):
        explain_turn(STORY, "othr")
    with pytest.raises(UsageError, match="no turn 'zzzz'; it has 4 turns"):
        explain_turn(STORY, "zzzz")


def test_every_reason_has_words_and_times_are_exact():
    for reason in Reason:
        assert reason_in_words(reason)
    assert because_in_words(Because(Reason.NO_ROOM)) == "too few blocks were free or could be evicted for it"
    assert [seconds(us) for us in (0, 1, 1_500_000, -20, 3_600_000_000)] == [
        "0 s", "0.000001 s", "1.5 s", "-0.00002 s", "3,600 s",
    ]  # fmt: skip


def spans(entries, lane):
    events = json.loads(json.dumps(to_perfetto(entries)))["traceEvents"]
    tids = {e["tid"] for e in events if e["name"] == "thread_name" and e["args"]["name"] == lane}
    assert len(tids) == 1
    return [(e["name"], e["ts"], e["dur"], e["args"]["turn"]) for e in events if e["ph"] == "X" and e["tid"] in tids]


def test_a_lane_shows_what_a_session_does():
    assert spans(STORY, "s") == [
        ("prefill", 0, 1_000_000, "one"),
        ("decode", 1_000_000, 2_000_000, "one"),
        ("tool wait: ls", 3_000_000, 2_000_000, "one"),
        ("queued", 5_000_000, 500_000, "two"),
        ("prefill", 5_500_000, 500_000, "two"),
        ("queued", 6_000_000, 500_000, "two"),
        ("swap in", 6_500_000, 250_000, "two"),
        ("prefill", 6_750_000, 1_250_000, "two"),
    ]
    assert spans(STORY, "o") == [("prefill", 4_000_000, 1_500_000, "other"), ("swap out", 5_500_000, 200_000, "other")]


def test_spans_of_a_lane_never_cross_and_branches_have_their_own():
    entries = trace(
        arrive("a", 0), arrive("b", 1, context="branch"), (1, batch(1, ("a", 8), a=0)), BatchDone(5, 1, 1),
        ToolReturned(6, "t", "s", "branch"), JobCancelled(7, "t", "j-s"), arrive("d", 8), SessionClosed(9, "t", "s"),
        arrive("e", 10), (10, batch(2, ("e", 8), e=0)), BatchOverdue(12, 2), arrive("f", 13), TurnCancelled(14, "f"),
    )  # fmt: skip
    assert [span[:2] for span in spans(entries, "s / branch")] == [("queued", 1)]
    lane = spans(entries, "s")
    assert all(first[1] + first[2] <= second[1] for first, second in pairwise(lane))
    assert [name for name, *_ in lane] == ["queued", "prefill", "decode", "queued", "prefill", "queued"]


def test_counters_follow_the_engine():
    events = list(perfetto_events(STORY))
    free = [(e["ts"], e["args"]["blocks"]) for e in events if e["name"] == "free device blocks"]
    assert free == [(0, 6), (0, 3)]
    turns = [(e["ts"], e["args"]["running"], e["args"]["waiting"]) for e in events if e["name"] == "turns"]
    assert (0, 1, 0) in turns
    assert (5_000_000, 1, 1) in turns
    assert turns[-1] == (8_000_000, 0, 0)
