"""Each claim that is judged from outside: good runs pass, and a bad line of each kind is found and named."""

from __future__ import annotations

import pytest
from attrs import evolve

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
from astraea.errors import TraceError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
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
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.trace.check import CLAIMS_JUDGED, check_trace
from astraea.trace.digest import RunDigest
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, EventEntry, TraceHeader

LIMITS = Limits(
    device_blocks=6,
    host_blocks=6,
    block_tokens=4,
    step_tokens_max=16,
    batch_turns_max=2,
    steps_max=8,
    bypass_max=1,
    preemptions_max=1,
)
WHY = Because(Reason.RANKED)


def arrive(turn, now_us=0, context_tokens=8, most=4, *, session=None, job=None, reusable=0, prefix=None):
    session = session or f"s-{turn}"
    job = job or f"j-{turn}"
    shared = None if prefix is None else SharedPrefix("p", prefix)
    return TurnArrived(now_us, "t", session, job, turn, "c", context_tokens, reusable, most, shared)


def run(batch_id, max_steps, *chunks, **dispatched):
    """``run(1, 1, ("a", 8), a=0)`` dispatches ``a`` from token 0 and computes 8 tokens of it."""
    entering = tuple(Dispatch(turn, start, WHY) for turn, start in dispatched.items())
    return RunBatch(batch_id, tuple(Chunk(*chunk) for chunk in chunks), max_steps, WHY, entering)


def done(now_us, batch_id, steps, **ended):
    outcomes = tuple(
        TurnOutcome(turn, Outcome(how), "tool" if how == "tool_call" else None) for turn, how in ended.items()
    )
    return BatchDone(now_us, batch_id, steps, outcomes)


def drop(session, keep, blocks, *, on_host=False, reason=Reason.DEMAND, prefix=""):
    context = "" if prefix else "c"
    return DropCache("t", session, context, prefix, on_host, keep, blocks, Because(reason))


def swap_out(op_id, session, upto, keep, start=0):
    return SwapOut(op_id, "t", session, "c", start, upto, keep, WHY)


def swap_in(op_id, turn, upto, start=0):
    return SwapIn(op_id, turn, "t", f"s-{turn}", "c", start, upto, WHY)


def hold(turn, reason):
    return Hold(turn, Because(reason))


def trace(*items, limits=LIMITS, guarded=True, blocking=Blocking.STARTS, end=True, digest=None):
    """A trace of events and of tuples ``(now_us, *decisions)``, one for each ``decide``."""
    entries = [TraceHeader(1, "astraea", limits, guarded, blocking)]
    run_digest = RunDigest()
    for item in items:
        line = len(entries) + 1
        if isinstance(item, tuple):
            now_us, *decisions = item
            run_digest.decided(now_us, decisions)
            entries.append(DecideEntry(line, now_us))
            entries += [DecisionEntry(line + n, decision) for n, decision in enumerate(decisions, start=1)]
        else:
            run_digest.reported(item)
            entries.append(EventEntry(line, item))
    if end:
        entries.append(EndEntry(len(entries) + 1, digest or run_digest.hexdigest(), 0, 0))
    return entries


# A turn alone: 8 tokens of prompt in 2 blocks, then up to 4 tokens of output in a third.
ARRIVES = arrive("a")
PREFILL = (0, run(1, 1, ("a", 8), a=0))
DECODE = (1, run(2, 3, ("a", 1)))
ALONE = (ARRIVES, PREFILL, done(1, 1, 1), DECODE, done(4, 2, 3, a="tool_call"), (4,))
WIDE = evolve(LIMITS, batch_turns_max=8)


def test_a_turn_alone_is_judged_clean_and_counted():
    report = check_trace(trace(*ALONE))
    assert report.ok, report.breach
    assert report.complete
    assert report.claims == CLAIMS_JUDGED
    assert (report.events, report.decides, report.decisions) == (3, 3, 2)
    assert (report.jobs, report.turns_admitted, report.turns_ended, report.turns_live) == (1, 1, 1, 0)
    assert (report.device_blocks_peak, report.host_blocks_peak) == (3, 0)


SWAPPED_AND_BACK = (
    *ALONE,
    arrive("b", 5, 19, 4),
    (5, swap_out(1, "s-a", 11, 4), hold("b", Reason.COPYING)),
    SwapDone(6, 1),
    (6, run(3, 1, ("b", 16), b=0)),
    done(7, 3, 1),
    (7, run(4, 1, ("b", 3))),
    done(8, 4, 1),
    (8, run(5, 1, ("b", 1))),
    done(9, 5, 1, b="final"),
    (9,),
    ToolReturned(10, "t", "s-a", "c"),
    arrive("a", 10, 12, 4, reusable=11),
    (10, drop("s-b", 0, 5), swap_in(2, "a", 11)),
    SwapDone(11, 2),
    (11, run(6, 1, ("a", 1), a=11)),
    done(12, 6, 1, a="final"),
    (12,),
    SessionClosed(13, "t", "s-a"),
    (13, drop("s-a", 0, 3, reason=Reason.ENDED), drop("s-a", 0, 3, on_host=True, reason=Reason.ENDED)),
)
PREEMPTED = (
    arrive("a"),
    arrive("b", context_tokens=12, most=8),
    (0, run(1, 1, ("a", 8), ("b", 8), a=0, b=0)),
    done(1, 1, 1),
    (1, run(2, 1, ("a", 1), ("b", 4))),
    done(2, 2, 1),
    (2, Preempt("b", WHY), hold("b", Reason.NO_ROOM), run(3, 2, ("a", 1))),
    done(4, 3, 2, a="final"),
    (4, drop("s-a", 0, 3), run(4, 1, ("b", 1), b=12)),
    done(5, 4, 1),
    (5, run(5, 6, ("b", 1))),
    done(6, 5, 2, b="final"),
    (6,),
)
SHARED = (
    arrive("a", context_tokens=9, most=2, prefix=8),
    (0, run(1, 1, ("a", 9), a=0)),
    arrive("b", 1, 10, 2, prefix=8),
    (1,),
    done(2, 1, 1, a="final"),
    (2, run(2, 1, ("b", 2), b=8)),
    done(3, 2, 1, b="final"),
    (3,),
    SessionClosed(4, "t", "s-a"),
    SessionClosed(4, "t", "s-b"),
    (4, drop("s-a", 0, 1, reason=Reason.ENDED), drop("s-b", 0, 1, reason=Reason.ENDED), drop("", 0, 2, prefix="p")),
)
OVERDUE = (
    arrive("a"),
    arrive("b", context_tokens=4, most=16),
    (0, hold("b", Reason.HEADROOM), run(1, 1, ("a", 8), a=0)),
    BatchOverdue(1, 1),
    (1, Refuse("b", None, Because(Reason.NEVER_FITS))),
    arrive("d", 2, 17, 4),
    (2, Refuse("d", None, Because(Reason.NEVER_FITS))),
    BatchDone(3, 1, 1),
    arrive("d", 3, 16, 4),
    (3, run(2, 1, ("d", 16), d=0)),
    TurnCancelled(4, "d"),
    (4,),
    done(5, 2, 1, d="final"),
    (5,),
)
LATE_COPY = (
    *ALONE,
    arrive("b", 5, 20, 4),
    (5, swap_out(1, "s-a", 11, 0), hold("b", Reason.COPYING)),
    SwapOverdue(6, 1),
    (6, Refuse("b", None, Because(Reason.NEVER_FITS))),
    SessionClosed(7, "t", "s-a"),
    (7,),
    SwapDone(8, 1),
    Drain(8),
    arrive("z", 8),
    (8, Refuse("z", None, Because(Reason.DRAINING))),
)


@pytest.mark.parametrize(
    "items",
    [SWAPPED_AND_BACK, PREEMPTED, SHARED, OVERDUE, LATE_COPY],
    ids=["swapped-and-back", "preempted", "shared", "overdue", "late-copy"],
)
def test_a_good_run_passes_and_so_does_each_beginning_of_it(items):
    report = check_trace(trace(*items))
    assert report.ok, report.breach
    whole = trace(*items, end=False)
    for length in range(1, len(whole)):
        cut = check_trace(whole[:length])
        assert cut.ok, (length, cut.breach)
        assert not cut.complete


def test_what_a_good_run_used_is_reported():
    report = check_trace(trace(*PREEMPTED))
    assert report.worst_preemptions == 1
    assert report.device_blocks_peak == 6
    assert check_trace(trace(*SWAPPED_AND_BACK)).host_blocks_peak == 3


def caught(claim, words, *items, line=None, **how):
    report = check_trace(trace(*items, **how))
    assert report.breach is not None, "nothing was found"
    assert report.breach.claim == claim, report.breach
    assert words in report.breach.sentence, report.breach
    entries = trace(*items, **how)
    assert report.breach.line == (line if line is not None else entries[-2].line), report.breach
    assert str(report.breach).startswith(f"line {report.breach.line}: {claim}: ")
    return report


# INV-1


def test_inv_1_more_blocks_than_the_pool():
    small = evolve(LIMITS, device_blocks=3)
    items = (ARRIVES, arrive("b", context_tokens=6), (0, run(1, 1, ("a", 8), ("b", 6), a=0, b=0)))
    assert check_trace(trace(*items)).ok
    caught("INV-1", "4 device blocks are held of 3", *items, limits=small)


def test_inv_1_the_steps_of_a_batch_need_blocks_too():
    items = (*ALONE[:3], arrive("b", 1, 12, 8), (1, run(2, 1, ("a", 1), ("b", 12), b=0)))
    assert check_trace(trace(*items)).ok
    tight = evolve(LIMITS, device_blocks=5)
    caught("INV-1", "6 device blocks are held of 5", *items, limits=tight)


def test_inv_1_a_drop_says_more_than_it_frees():
    good = (*ALONE, arrive("b", 5, 20, 4), (5, drop("s-a", 4, 2), run(3, 1, ("b", 16), b=0)))
    assert check_trace(trace(*good)).ok
    bad = (*ALONE, arrive("b", 5, 20, 4), (5, drop("s-a", 4, 3), run(3, 1, ("b", 16), b=0)))
    caught("INV-1", "frees 3 of its 3 blocks on the device, and keeps 4 tokens in 1", *bad, line=12)


def test_inv_1_the_host_pool_is_counted():
    caught(
        "INV-1", "3 host blocks are held of 2",
        *ALONE, arrive("b", 5, 20, 4), (5, swap_out(1, "s-a", 11, 4), hold("b", Reason.COPYING)),
        limits=evolve(LIMITS, host_blocks=2), line=12,
    )  # fmt: skip


def test_inv_1_a_closed_session_leaves_nothing():
    caught("INV-1", "closed at line 10 and still holds 3 device", *ALONE, SessionClosed(5, "t", "s-a"), (5,))


def test_inv_1_a_quarantined_batch_keeps_the_blocks_of_all_its_steps():
    """The engine may still write what an overdue batch was decided to compute."""
    one = arrive("a", context_tokens=4, most=12)
    overdue = (one, (0, run(1, 1, ("a", 4), a=0)), done(1, 1, 1), (1, run(2, 8, ("a", 1))), BatchOverdue(2, 2))
    fits = (*overdue, arrive("b", 3, 8, 4), (3, run(3, 1, ("b", 8), b=0)))
    assert check_trace(trace(*fits)).ok
    caught("INV-5", "of 4 blocks is admitted; 3 blocks are usable", *overdue, arrive("b", 3, 12, 4), (3,), line=9)


# INV-2


def test_inv_2_a_running_turn_is_dispatched_again():
    again = (1, run(2, 3, ("a", 1), a=8))
    caught("INV-2", "is running and cannot take dispatch", ARRIVES, PREFILL, done(1, 1, 1), again)


def test_inv_2_a_turn_that_never_came():
    caught("INV-2", "'b' is dispatched but was never admitted", ARRIVES, (0, run(1, 1, ("b", 8), b=0)))


def test_inv_2_a_waiting_turn_is_computed():
    caught(
        "INV-2", "turn 'b' is computed while it is waiting",
        ARRIVES, arrive("b"), (0, run(1, 1, ("a", 8), ("b", 8), a=0)),
    )  # fmt: skip


def test_inv_2_a_running_turn_is_held_back():
    held = (1, hold("a", Reason.NO_ROOM), run(2, 3, ("a", 1)))
    caught("INV-2", "'a' is held back while it is running", ARRIVES, PREFILL, done(1, 1, 1), held, line=7)


# INV-3


def test_inv_3_a_turn_starts_from_what_is_not_there():
    caught("INV-3", "starts from 4 tokens, 0 are on the device", ARRIVES, (0, run(1, 1, ("a", 4), a=4)))


def test_inv_3_an_edited_history_is_reused():
    again = arrive("a", 5, 12, 4, reusable=6)
    stale = drop("s-a", 6, 1, reason=Reason.STALE)
    assert check_trace(trace(*ALONE, again, (5, stale, run(3, 1, ("a", 6), a=6)))).ok
    caught("INV-3", "of which only 6 are still a prefix", *ALONE, again, (5, run(3, 1, ("a", 1), a=11)))


def test_inv_3_a_shared_prefix_that_the_prompt_no_longer_begins_with():
    prefixed = arrive("a", context_tokens=9, most=2, prefix=8)
    first = (prefixed, (0, run(1, 1, ("a", 9), a=0)), done(1, 1, 1, a="tool_call"), (1,))
    stale = drop("s-a", 0, 1, reason=Reason.STALE)
    kept = arrive("a", 2, 9, 2, prefix=8)
    assert check_trace(trace(*first, kept, (2, stale, run(2, 1, ("a", 1), a=8)))).ok
    gone = arrive("a", 2, 9, 2)
    caught("INV-3", "starts from 8 tokens", *first, gone, (2, stale, run(2, 1, ("a", 1), a=8)))


def test_inv_3_a_full_hit_still_computes_a_token():
    again = arrive("a", 5, 11, 4, reusable=11)
    assert check_trace(trace(*ALONE, again, (5, run(3, 1, ("a", 1), a=10)))).ok
    caught("INV-3", "starts from all its 11 tokens", *ALONE, again, (5, run(3, 1, ("a", 1), a=11)))


def test_inv_3_what_runs_is_not_dropped():
    dropped = (1, drop("s-a", 4, 1), run(2, 3, ("a", 1)))
    caught("INV-3", "whose turn 'a' is running", ARRIVES, PREFILL, done(1, 1, 1), dropped, line=7)


def test_inv_3_what_is_copied_is_not_dropped():
    caught(
        "INV-3", "which is being copied",
        *ALONE, arrive("b", 5, 20, 4), (5, swap_out(1, "s-a", 11, 4), drop("s-a", 4, 2)),
    )  # fmt: skip


def test_inv_3_a_prefix_in_use_is_not_dropped():
    wrong = (2, drop("", 0, 2, prefix="p"), run(2, 1, ("b", 2), b=8))
    caught("INV-3", "starts from 8 tokens, 0 are on the device", *SHARED[:5], wrong)
    caught("INV-3", "1 turns or copies need", *SHARED[:3], (1, drop("", 0, 2, prefix="p")))


# INV-4


def test_inv_4_an_ended_turn_runs_again():
    caught("INV-4", "ended at line 8 and is computed now", *ALONE, (5, run(3, 1, ("a", 1))))


def test_inv_4_an_ended_turn_ends_again():
    again = (*ALONE, arrive("b", 5), (5, run(3, 1, ("b", 8), b=0)), done(6, 3, 1, a="final"), (6,))
    caught("INV-4", "'a' ended at line 8 already", *again, line=13)


def test_inv_4_a_turn_ends_without_a_token():
    wrong = (ARRIVES, (0, run(1, 1, ("a", 4), a=0)), done(1, 1, 1, a="final"), (1,))
    caught("INV-4", "sampled nothing in the last step", *wrong, line=5)
    failed = (ARRIVES, (0, run(1, 1, ("a", 4), a=0)), done(1, 1, 1, a="failed"), (1,))
    assert check_trace(trace(*failed)).ok


def test_inv_4_the_last_token_ends_a_turn():
    goes_on = (*ALONE[:4], done(4, 2, 3), (4, run(3, 1, ("a", 1))))
    caught("INV-4", "sampled its last token, number 4, and did not end", *goes_on, line=8)


def test_inv_4_a_batch_may_not_run_past_the_maximum():
    caught("INV-4", "would have sampled 5 tokens after 4 steps", *ALONE[:3], (1, run(2, 4, ("a", 1))))


def test_inv_4_a_chunk_computes_what_is_known():
    caught("INV-4", "computes 9 tokens in 1 steps, 8 are known", ARRIVES, (0, run(1, 1, ("a", 9), a=0)))


def test_inv_4_no_token_is_computed_twice():
    caught("INV-4", "has two chunks", ARRIVES, (0, run(1, 1, ("a", 4), ("a", 4), a=0)))
    caught("INV-4", "while batch 1 of line 4 is owed", ARRIVES, PREFILL, (1, run(2, 1, ("a", 8))))
    caught("INV-4", "batch_id 1 was given before", *ALONE[:3], (1, run(1, 3, ("a", 1))))


def test_inv_4_an_admitted_turn_is_not_refused_without_cause():
    caught(
        "INV-4", "was admitted at line 2 and is refused",
        ARRIVES, PREFILL, done(1, 1, 1), (1, Refuse("a", None, Because(Reason.NEVER_FITS))),
    )  # fmt: skip


# INV-5


def test_inv_5_what_never_fits_is_refused():
    giant = arrive("a", context_tokens=24, most=1)
    assert check_trace(trace(giant, (0, Refuse("a", None, Because(Reason.NEVER_FITS))))).ok
    caught("INV-5", "of 7 blocks is admitted; 6 blocks are usable", giant, (0, hold("a", Reason.NO_ROOM)), line=2)


def test_inv_5_quarantine_ends_what_no_longer_fits():
    caught("INV-5", "'b' of 5 blocks stays admitted; 4 blocks", *OVERDUE[:4], (1, run(2, 1, ("b", 4), b=0)), line=8)


# INV-6


def test_inv_6_nothing_runs_while_a_turn_waits():
    caught("INV-6", "1 turns wait, 'a' first, and nothing runs or is owed", ARRIVES, (0,))
    caught("INV-6", "nothing runs or is owed", ARRIVES, (0, hold("a", Reason.NO_ROOM)), line=3)


def test_inv_6_a_batch_computes_something():
    caught("INV-6", "batch 1 computes nothing", ARRIVES, (0, run(1, 1)))


BESIDE = (ARRIVES, arrive("b"))


@pytest.mark.parametrize("reason", [None, Reason.NO_ROOM, Reason.COPYING, Reason.PREFIX_FILLING, Reason.RESERVED])
def test_inv_6_a_turn_that_fits_is_held_back_for_no_true_reason(reason):
    holds = () if reason is None else (hold("b", reason),)
    items = (*BESIDE, (0, *holds, run(1, 1, ("a", 8), a=0)))
    why = "no Hold says why" if reason is None else f"its last Hold says {reason}"
    caught("INV-6", f"'b' needs 2 blocks, 4 are free, and it waits; {why}", *items, line=4)


def test_inv_6_the_named_reasons_excuse():
    prefill = run(1, 1, ("a", 8), a=0)
    start = hold("b", Reason.HEADROOM)
    assert check_trace(trace(*BESIDE, (0, start, prefill))).ok
    full = trace(*BESIDE, (0, hold("b", Reason.BATCH_FULL), prefill), limits=evolve(LIMITS, batch_turns_max=1))
    assert check_trace(full).ok
    capped = evolve(LIMITS, tenant_kv_blocks_max=5)
    assert check_trace(trace(*BESIDE, (0, hold("b", Reason.TENANT_KV), prefill), limits=capped)).ok
    caught(
        "INV-6", "its last Hold says tenant_kv", *BESIDE, (0, hold("b", Reason.TENANT_KV), prefill),
        limits=evolve(LIMITS, tenant_kv_blocks_max=6), line=4,
    )  # fmt: skip
    caught("INV-6", "there is none", *BESIDE, (0, hold("b", Reason.TENANT_KV), prefill), line=5)


def test_inv_6_a_blocked_start_excuses_as_far_as_the_policy_says():
    blocked = arrive("big", context_tokens=20, most=4)
    items = (ARRIVES, blocked, arrive("b"), (0, hold("big", Reason.NO_ROOM), run(1, 1, ("a", 8), a=0)))
    assert check_trace(trace(*items)).ok
    assert check_trace(trace(*items, blocking=None)).ok
    assert check_trace(trace(*items, limits=evolve(LIMITS, blocked_scan_max=1), blocking=Blocking.NOTHING)).ok
    caught("INV-6", "'b' needs 2 blocks", *items, blocking=Blocking.NOTHING, line=5)


def test_inv_6_a_waiting_job_at_the_bound_excuses():
    at_the_bound = evolve(LIMITS, bypass_max=0)
    big = arrive("big", context_tokens=20, most=4)
    old = arrive("a")
    items = (old, (0, run(1, 1, ("a", 8), a=0)), big, arrive("b"), done(1, 1, 1))
    held = (1, hold("big", Reason.NO_ROOM), run(2, 3, ("a", 1)))
    assert check_trace(trace(*items, held, limits=at_the_bound, blocking=Blocking.NOTHING)).ok
    caught("INV-6", "'b' needs 2 blocks", *items, held, blocking=Blocking.NOTHING, line=8)


def test_inv_6_steps_that_went_as_planned_are_no_occasion():
    """Nothing is placed anew while a plan goes on; any other event makes the next ``decide`` look again."""
    items = (*BESIDE, (0, hold("b", Reason.HEADROOM), run(1, 1, ("a", 8), a=0)), done(1, 1, 1))
    goes_on = (1, hold("b", Reason.NO_ROOM), run(2, 3, ("a", 1)))
    assert check_trace(trace(*items, goes_on)).ok
    caught("INV-6", "'b' needs 2 blocks", *items, Drain(1), goes_on, line=9)


# LIVE-1


def test_live_1_a_job_is_bypassed_once_too_often():
    one = arrive("old", context_tokens=16, most=4)
    first = (one, ARRIVES, (0, hold("old", Reason.HEADROOM), run(1, 1, ("a", 8), a=0)))
    report = check_trace(trace(*first))
    assert report.ok, report.breach
    assert report.worst_bypass == 1
    past = (*first, arrive("b", 0), done(1, 1, 1), (1, run(2, 1, ("a", 1), ("b", 8), b=0)))
    caught("LIVE-1", "past job 'j-old', which has 2 bypasses; bypass_max is 1", *past)
    unguarded = check_trace(trace(*past, guarded=False))
    assert unguarded.ok, unguarded.breach
    assert unguarded.worst_bypass == 2
    assert "LIVE-1" not in unguarded.claims


def test_live_1_bypasses_add_up_over_the_turns_of_a_job():
    items = (
        arrive("x1", context_tokens=4, session="x", job="x"), arrive("a"),
        (0, hold("x1", Reason.HEADROOM), run(1, 1, ("a", 8), a=0)),
        done(1, 1, 1, a="final"),
        (1, run(2, 1, ("x1", 4), x1=0)),
        done(2, 2, 1, x1="tool_call"),
        arrive("x2", 2, 4, session="x", job="the job goes on"), arrive("b", 2),
        (2, hold("x2", Reason.COPYING), run(3, 1, ("b", 8), b=0)),
    )  # fmt: skip
    caught("LIVE-1", "past job 'x', which has 2 bypasses; bypass_max is 1", *items)


def test_live_1_a_swap_in_passes_nobody_at_the_bound():
    items = (
        *ALONE[:5], arrive("b", 4, 20, 4), (4, swap_out(1, "s-a", 11, 0), hold("b", Reason.COPYING)), SwapDone(5, 1),
        TurnCancelled(5, "b"), JobCancelled(5, "t", "j-a"),
        arrive("old", 6, 20, 4), arrive("a", 6, 12, 4, reusable=11),
    )  # fmt: skip
    strict = evolve(LIMITS, bypass_max=0)
    caught("LIVE-1", "SwapIn for turn 'a' passes job 'j-old'", *items, (6, swap_in(2, "a", 11)), limits=strict)
    placed = (6, swap_in(2, "a", 11), run(3, 1, ("old", 16), old=0))
    roomy = evolve(strict, device_blocks=9)
    assert check_trace(trace(*items, placed, limits=roomy)).ok, "it may have been placed before the copy began"


# LIVE-3


def test_live_3_a_turn_is_preempted_at_most_p_times():
    again = (*PREEMPTED[:-3], (5, Preempt("b", WHY), run(5, 6, ("b", 1), b=13)))
    caught("LIVE-3", "once more after 1 of 1 times", *again, line=entries_before(again) + 1)


def entries_before(items):
    """The line of the last ``decide``."""
    return next(e.line for e in reversed(trace(*items, end=False)) if isinstance(e, DecideEntry))


def test_live_3_the_latest_arrived_goes_first():
    wrong = (2, Preempt("a", WHY), run(3, 2, ("b", 1)))
    caught("LIVE-3", "'a' is preempted before 'b', which arrived later", *PREEMPTED[:6], wrong, line=11)


# The rest


def test_limits_are_limits():
    three = (ARRIVES, arrive("b", context_tokens=4), arrive("d", context_tokens=4))
    crowd = (*three, (0, run(1, 1, ("a", 8), ("b", 4), ("d", 4), a=0, b=0, d=0)))
    assert check_trace(trace(*crowd, limits=WIDE)).ok
    caught("LIMITS", "3 turns run; batch_turns_max is 2", *crowd)
    caught("LIMITS", "step_tokens_max is 15", *crowd, limits=evolve(WIDE, step_tokens_max=15))
    caught("LIMITS", "max_steps 9", *ALONE[:3], (1, run(2, 9, ("a", 1))))
    caught("LIMITS", "turns_max is 2", *three, (0,), limits=evolve(LIMITS, turns_max=2), line=4)
    caught("LIMITS", "starts a job after Drain", Drain(0), ARRIVES, PREFILL, line=3)


def test_the_digest_of_the_end_is_compared():
    report = check_trace(trace(*ALONE, digest="0" * 64))
    assert report.breach is not None
    assert (report.breach.claim, report.breach.line) == ("DIGEST", 10)


@pytest.mark.parametrize(
    ("words", "items", "line"),
    [
        ("is not owed", (done(0, 7, 1), (0,)), 2),
        ("may run 0 to 1 steps", (ARRIVES, PREFILL, done(1, 1, 2), (1,)), 5),
        ("is not in batch 1", (ARRIVES, PREFILL, done(1, 1, 1, z="final"), (1,)), 5),
        ("copy 3 is not owed", (SwapDone(0, 3), (0,)), 2),
        ("turn 'a' is not live", (TurnCancelled(0, "a"), (0,)), 2),
        ("job 'j' is not live", (JobCancelled(0, "t", "j"), (0,)), 2),
        ("session 's' is not known", (SessionClosed(0, "t", "s"), (0,)), 2),
        ("waits for no tool", (ARRIVES, ToolReturned(0, "t", "s-a", "c"), (0,)), 3),
        ("is live already", (ARRIVES, ARRIVES, (0,)), 3),
        ("has a live turn", (ARRIVES, arrive("b", session="s-a"), (0,)), 3),
        ("now_us 0 is before 1", (arrive("a", 1), arrive("b", 0), (0,)), 3),
    ],
)
def test_an_event_that_the_driver_may_not_send(words, items, line):
    caught("CONTRACT", words, *items, line=line)


def test_a_trace_begins_with_one_header():
    with pytest.raises(TraceError, match="does not begin with a header"):
        check_trace(trace(*ALONE)[1:])
    with pytest.raises(TraceError, match="second header"):
        check_trace([*trace(*ALONE, end=False), *trace(*ALONE)])


def test_a_history_is_edited_and_its_session_closed_before_anyone_decides():
    stale, ended = drop("s-a", 4, 2, reason=Reason.STALE), drop("s-a", 0, 1, reason=Reason.ENDED)
    again = arrive("a", 5, 12, 4, reusable=4)
    assert check_trace(trace(*ALONE, again, SessionClosed(5, "t", "s-a"), (5, stale, ended))).ok
    caught("INV-1", "still holds 1 device", *ALONE, again, SessionClosed(5, "t", "s-a"), (5, stale), line=12)


def test_a_job_is_over_with_an_answer_and_ends_with_what_is_left_of_it():
    """A turn that follows starts a new job, which is bypassed anew; a cancelled turn is no answer."""
    first = (arrive("x", 0, 4, session="x", job="x"), ARRIVES)
    begin = (*first, (0, hold("x", Reason.HEADROOM), run(1, 1, ("a", 8), a=0)), done(1, 1, 1, a="final"))
    more = (arrive("y", 2, 20, session="x", job="y"), arrive("b", 2))
    waits = hold("y", Reason.NO_ROOM)
    answered = (*begin, (1, run(2, 1, ("x", 4), x=0)), done(2, 2, 1, x="final"), *more)
    report = check_trace(trace(*answered, (2, waits, run(3, 1, ("b", 8), b=0))))
    assert report.ok, report.breach
    assert report.jobs == 4
    cancelled = (*begin, TurnCancelled(1, "x"), (1,), *more, (2, waits, run(2, 1, ("b", 8), b=0)))
    caught("LIVE-1", "past job 'x', which has 2 bypasses; bypass_max is 1", *cancelled)
