"""The cursor over size classes against a full sort of exact fractions; the classes against exact powers."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from astraea.policy.ranking import RatioClassQueue
from astraea.policy.state import Context, Job, Session, Turn

TIMES = st.integers(0, 10**9)
SIZES = st.one_of(
    st.integers(1, 50), st.integers(1, 10**7), st.sampled_from([2**i for i in range(70)]), st.just(10**30)
)
TURNS = st.lists(st.tuples(TIMES, TIMES, SIZES, st.booleans(), st.booleans()), max_size=25)


def waiting_turns(rows):
    """One job a row, with a second turn where the row says so; it waits since ``ready`` and had waited before."""
    turns, serial = [], 0
    for arrival, (ready, wait, size, starts, twice) in enumerate(rows, start=1):
        session = Session("ann", f"s{arrival}")
        job = Job("ann", f"j{arrival}", arrival, ready, session, waiting_turns=1 + twice)
        job.ready_key = ready - wait
        for _ in range(1 + twice):
            serial += 1
            turn = Turn(f"t{serial}", serial, job, Context(session, f"c{serial}"), 5, 5, 5, None)
            turn.size, turn.starts = size + (serial % 3), starts
            turns.append(turn)
    return turns


def exact_order(queue, turns, now_us, bonus_us):
    """Largest ``(W + w0) / 2^class`` first, then the earlier job, then the earlier turn."""

    def key(turn):
        ratio = Fraction(turn.job.wait_at(now_us) + bonus_us, 2 ** queue.size_class(turn.size))
        return (-ratio, turn.job.arrival, turn.serial)

    return sorted(turns, key=key)


def walk_of(cursor, skip_after=None):
    found = []
    while (turn := cursor.next()) is not None:
        found.append(turn)
        if skip_after is not None and len(found) == skip_after:
            cursor.skip_starts()
    return found


@given(
    rows=TURNS,
    exponent=st.integers(1, 8),
    later=TIMES,
    bonus=st.integers(1, 10**5),
    removed=st.sets(st.integers(0, 40)),
)
def test_the_cursor_walks_in_the_order_of_a_full_sort(rows, exponent, later, bonus, removed):
    queue = RatioClassQueue(exponent, bonus)
    turns = waiting_turns(rows)
    for turn in turns:
        queue.add(turn)
    for i in removed:
        if i < len(turns):
            queue.remove(turns[i])
    left = [turn for i, turn in enumerate(turns) if i not in removed]
    now_us = max((row[0] for row in rows), default=0) + later
    expected = exact_order(queue, left, now_us, bonus)
    assert walk_of(queue.cursor(now_us)) == expected
    assert len(queue) == len(left)
    by_key = sorted(left, key=lambda t: queue.key(t.job, t.size, t.serial, now_us))
    assert by_key == expected


@given(rows=TURNS, skip_after=st.integers(1, 10), later=TIMES)
def test_starts_are_left_out_from_where_they_are_skipped(rows, skip_after, later):
    queue = RatioClassQueue(4, 6_000)
    turns = waiting_turns(rows)
    for turn in turns:
        queue.add(turn)
    now_us = max((row[0] for row in rows), default=0) + later
    whole = walk_of(queue.cursor(now_us))
    expected = whole[:skip_after] + [turn for turn in whole[skip_after:] if not turn.starts]
    assert walk_of(queue.cursor(now_us), skip_after) == expected


@given(size=SIZES, exponent=st.integers(1, 8))
def test_a_size_class_is_the_exact_half_octave_to_the_power(size, exponent):
    half_octaves = max(h for h in range(256) if 2**h <= size**2)
    assert RatioClassQueue(exponent, 1).size_class(size) == min(exponent * half_octaves // 2, 40 * exponent)


@given(small=SIZES, more=st.integers(0, 10**6), exponent=st.integers(1, 8))
def test_a_larger_size_is_never_in_a_smaller_class(small, more, exponent):
    queue = RatioClassQueue(exponent, 1)
    assert queue.size_class(small) <= queue.size_class(small + more)
