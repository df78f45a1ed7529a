"""Orders of the waiting turns. The first is Astraea's: a response ratio that costs O(classes), not O(waiting).

The ratio of a job is ``(W + w0)^(1/n) / S``: W its accumulated wait, S its size, of which only the half octave counts,
``S = 2^(h/2)``. To the n-th power, with ``c = floor(n h / 2)`` (its *class*), two turns compare exactly as
``(W1 + w0) << (C - c1)`` and ``(W2 + w0) << (C - c2)``. Within a class that is the order of ``W``, that is of the
static ``ready_key = ready - accumulated wait``: so each class is a sorted list that time does not disturb, and only
the heads of the classes are compared. A ratio is never stored: it changes with time. Ties fall to the earlier job, then
to the earlier turn, so that every order is total.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from typing import Any

from sortedcontainers import SortedList

from astraea.policy.fixedpoint import half_octave
from astraea.policy.protocol import Cursor
from astraea.policy.state import Job, Turn

__all__ = ["RatioClassQueue", "RatioCursor", "ScanQueue", "StaticQueue"]

_Entry = tuple[int, int, int, Turn]
"""Ready key, arrival of the job, serial of the turn, which makes it unique, and the turn."""
_NOBODY: Any = None
_TOP_OCTAVES = 40
"""Sizes from 2^40 us on, 12 days of engine time, are alike; it keeps the shifted integers short."""


class _SizeClass:
    """The waiting turns of one size class, starts or not starts, in order.

    Turns come mostly at the end and go mostly at the front. So this is a plain list of which the first ``gone`` entries
    are left out, and cut off where they are half of it.
    """

    __slots__ = ("gone", "members", "place", "shift", "starts")

    def __init__(self, place: tuple[int, bool], shift: int) -> None:
        self.place = place
        self.shift = shift
        self.starts = place[1]
        self.members: list[_Entry] = []
        self.gone = 0

    def remove(self, entry: _Entry) -> bool:
        """Remove a member; return whether it was the last one."""
        members, gone = self.members, self.gone
        if members[gone] is not entry:
            del members[bisect_left(members, entry, gone)]
            return False
        members[gone] = _NOBODY  # the turn is not kept alive by its old place
        self.gone = gone = gone + 1
        if gone == len(members):
            return True
        if 2 * gone > len(members):
            del members[:gone]
            self.gone = 0
        return False


_Head = tuple[int, int, int, _SizeClass, int]
"""Scaled ready key, arrival, serial, the class, and the place in its list."""


class RatioClassQueue:
    """Orders by ``(W + bonus_us)^(1/n) / S`` in size classes of half an octave."""

    def __init__(self, exponent_inverse: int, bonus_us: int) -> None:
        self._n = exponent_inverse
        self._bonus_us = bonus_us
        self._top = _TOP_OCTAVES * exponent_inverse
        self._classes: dict[tuple[int, bool], _SizeClass] = {}
        self._length = 0

    def size_class(self, size: int) -> int:
        """Return ``floor(n h / 2)`` for a size of at least 1 in the half octave h, at most the top class."""
        return min(self._n * half_octave(size) // 2, self._top)

    def add(self, turn: Turn) -> None:
        """Add a turn to the class of its size."""
        job = turn.job
        size_class = self.size_class(turn.size)
        place = (size_class, turn.starts)
        entry = (job.ready_key, job.arrival, turn.serial, turn)
        peers = self._classes.get(place)
        if peers is None:
            peers = self._classes[place] = _SizeClass(place, self._top - size_class)
        insort(peers.members, entry, peers.gone)
        turn.place = (peers, entry)
        self._length += 1

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        peers, entry = turn.place
        turn.place = None
        self._length -= 1
        if peers.remove(entry):
            del self._classes[peers.place]

    def cursor(self, now_us: int) -> RatioCursor:
        """Return a walk in the order of the ratios at ``now_us``."""
        base = now_us + self._bonus_us
        heads: list[_Head] = []
        for peers in self._classes.values():
            key, arrival, serial, _ = peers.members[peers.gone]
            heads.append(((key - base) << peers.shift, arrival, serial, peers, peers.gone))
        heapify(heads)
        return RatioCursor(heads, base)

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the negated ratio to the n-th power, scaled, then the tie-breakers."""
        ratio = (job.wait_at(now_us) + self._bonus_us) << (self._top - self.size_class(size))
        return (-ratio, job.arrival, serial)

    def __len__(self) -> int:
        return self._length


class RatioCursor:
    """Merges the classes by comparing their heads."""

    def __init__(self, heads: list[_Head], base_us: int) -> None:
        self._heads = heads
        self._base_us = base_us
        self._no_starts = False

    def next(self) -> Turn | None:
        """Return the turn of the largest ratio not yet returned."""
        heads = self._heads
        while heads:
            _, _, _, peers, at = heads[0]
            if peers.starts and self._no_starts:
                heappop(heads)
                continue
            members = peers.members
            turn = members[at][3]
            at += 1
            if at == len(members):
                heappop(heads)
            else:
                key, arrival, serial, _ = members[at]
                heapreplace(heads, ((key - self._base_us) << peers.shift, arrival, serial, peers, at))
            return turn
        return None

    def skip_starts(self) -> None:
        """Leave out the starts from here on."""
        self._no_starts = True


class _ListCursor:
    """Walks turns that are in order already."""

    def __init__(self, ordered: Iterator[Turn]) -> None:
        self._ordered = ordered
        self._no_starts = False

    def next(self) -> Turn | None:
        """Return the next turn, or ``None`` at the end."""
        for turn in self._ordered:
            if not (turn.starts and self._no_starts):
                return turn
        return None

    def skip_starts(self) -> None:
        """Leave out the starts from here on."""
        self._no_starts = True


class StaticQueue:
    """Orders by a key that time does not change: ``key_of(job, size, serial)``, smaller first, ending in ``serial``."""

    def __init__(self, key_of: Callable[[Job, int, int], tuple[int, ...]]) -> None:
        self._key_of = key_of
        self._entries: SortedList[tuple[tuple[int, ...], Turn]] = SortedList()

    def add(self, turn: Turn) -> None:
        """Add a turn by its present size."""
        entry = (self._key_of(turn.job, turn.size, turn.serial), turn)
        self._entries.add(entry)
        turn.place = entry

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        self._entries.remove(turn.place)
        turn.place = None

    def cursor(self, now_us: int) -> Cursor:
        """Return a walk in the static order; ``now_us`` plays no part."""
        return _ListCursor(turn for _, turn in self._entries)

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the static key."""
        return self._key_of(job, size, serial)

    def __len__(self) -> int:
        return len(self._entries)


class ScanQueue:
    """Orders by any key of the moment, ``key_of(job, size, serial, now_us)``, with a full sort each time."""

    def __init__(self, key_of: Callable[[Job, int, int, int], tuple[int, ...]]) -> None:
        self._key_of = key_of
        self._turns: dict[int, Turn] = {}

    def add(self, turn: Turn) -> None:
        """Add a turn."""
        self._turns[turn.serial] = turn
        turn.place = turn.serial

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        del self._turns[turn.serial]
        turn.place = None

    def cursor(self, now_us: int) -> Cursor:
        """Return a walk over a fresh sort."""
        key_of = self._key_of
        keyed = sorted((key_of(t.job, t.size, t.serial, now_us), t.serial) for t in self._turns.values())
        turns = self._turns
        return _ListCursor(turns[serial] for _, serial in keyed)

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the key of the moment."""
        return self._key_of(job, size, serial, now_us)

    def __len__(self) -> int:
        return len(self._turns)
