"""The three queues, each against a full sort by what it says it orders by."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraea.policy.ranking import RatioClassQueue, ScanQueue, StaticQueue

NOW_US, BONUS_US = 1_000_000, 6_000


def turn_of(serial, size, wait_us, *, starts=False, arrival=None):
    job = SimpleNamespace(arrival=arrival or serial, ready_key=NOW_US - wait_us, wait_at=lambda now_us: wait_us)
    return SimpleNamespace(serial=serial, size=size, starts=starts, job=job, place=None)


def walk(queue, *, now_us=NOW_US, skip_after=None):
    cursor, seen = queue.cursor(now_us), []
    while (turn := cursor.next()) is not None:
        seen.append(turn.serial)
        if len(seen) == skip_after:
            cursor.skip_starts()
    return seen


rows = st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(0, NOW_US), st.booleans()), max_size=40)
turns = rows.map(lambda drawn: [turn_of(n, size, wait, starts=s) for n, (size, wait, s) in enumerate(drawn, start=1)])


@given(turns, st.integers(1, 4))
def test_ratio_classes_walk_like_a_full_sort_by_the_ratio_of_the_class(waiting, n):
    queue = RatioClassQueue(n, BONUS_US)
    for turn in waiting:
        queue.add(turn)

    def negated_ratio(turn):
        return -Fraction(turn.job.wait_at(NOW_US) + BONUS_US, 1 << queue.size_class(turn.size))

    expected = sorted(waiting, key=lambda turn: (negated_ratio(turn), turn.job.arrival, turn.serial))
    assert walk(queue) == [turn.serial for turn in expected]
    assert sorted(waiting, key=lambda t: queue.key(t.job, t.size, t.serial, NOW_US)) == expected


@given(turns, st.integers(0, 10))
def test_skipped_starts_are_left_out_from_there_on(waiting, after):
    queue = RatioClassQueue(4, BONUS_US)
    for turn in waiting:
        queue.add(turn)
    starts = {turn.serial for turn in waiting if turn.starts}
    everything, seen = walk(queue), walk(queue, skip_after=after)
    assert seen[:after] == everything[:after]
    if 0 < after <= len(everything):
        assert seen[after:] == [serial for serial in everything[after:] if serial not in starts]


def test_a_class_is_half_an_octave():
    queue = RatioClassQueue(4, BONUS_US)
    assert [queue.size_class(1 << octave) for octave in range(4)] == [0, 4, 8, 12]
    assert [queue.size_class(size) for size in (64, 90, 91, 127, 128)] == [24, 24, 26, 26, 28]
    assert queue.size_class(1 << 200) == queue.size_class(1 << 300)  # the top class


def test_the_textbook_ratio_and_the_fourth_root_differ():
    long_waiter, short = turn_of(1, size=8_000, wait_us=100_000), turn_of(2, size=1_000, wait_us=0)
    for n, first in ((1, 1), (4, 2)):
        queue = RatioClassQueue(n, BONUS_US)
        queue.add(long_waiter)
        queue.add(short)
        assert walk(queue)[0] == first, n


@pytest.mark.parametrize(
    "queue",
    [
        RatioClassQueue(4, BONUS_US),
        StaticQueue(lambda job, size, serial: (size, serial)),
        ScanQueue(lambda job, size, serial, now_us: (size - job.wait_at(now_us), serial)),
    ],
    ids=["ratio", "static", "scan"],
)
def test_what_is_removed_is_gone(queue):
    waiting = [turn_of(serial, size=10 * serial, wait_us=0) for serial in (1, 2, 3)]
    for turn in waiting:
        queue.add(turn)
        assert turn.place is not None
    assert len(queue) == 3
    queue.remove(waiting[0])
    assert waiting[0].place is None
    assert walk(queue) == [2, 3]
    queue.remove(waiting[1])
    queue.remove(waiting[2])
    assert (len(queue), walk(queue)) == (0, [])


def test_a_static_queue_skips_starts_too_and_knows_the_key_of_a_turn_that_is_not_in_it():
    queue = StaticQueue(lambda job, size, serial: (size, serial))
    for serial, starts in ((1, True), (2, True), (3, False)):
        queue.add(turn_of(serial, size=10, wait_us=0, starts=starts))
    assert walk(queue, skip_after=1) == [1, 3]
    assert queue.key(None, 7, 9, NOW_US) == (7, 9)


def test_a_scan_follows_the_moment():
    queue = ScanQueue(lambda job, size, serial, now_us: (-(now_us - job.ready_key) * 100 // size, serial))
    queue.add(turn_of(1, size=100, wait_us=1_000))
    queue.add(turn_of(2, size=10, wait_us=0))
    assert walk(queue) == [1, 2]
    assert walk(queue, now_us=NOW_US + 100_000) == [2, 1]
    assert queue.key(turn_of(3, 100, 0).job, 100, 3, NOW_US) == (0, 3)
