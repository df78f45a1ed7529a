"""Orders of the waiting turns. The first is Astraea's: a response ratio that costs O(classes), not O(waiting).

The ratio of a job is ``(W + w0)^(1/n) / S``: W its accumulated wait, S its size. To the n-th power, with S^n rounded
down to a power of two ``2^c`` (its *class*, ratio ``2^(1/n)``), two turns compare exactly as
``(W1 + w0) << (C - c1)`` and ``(W2 + w0) << (C - c2)``. Within a class that is the order of ``W``, that is of the
static ``ready_key = ready - accumulated wait``: so each class is a sorted list that time does not disturb, and only
the heads of the classes are compared. A ratio is never stored: it changes with time. Ties fall to the earlier job, then
to the earlier turn, so that every order is total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace

from sortedcontainers import SortedList

from astraea.policy.fixedpoint import LOG_ONE, log2
from astraea.policy.state import Job, Turn

__all__ = ["RatioClassQueue", "RatioCursor", "ScanQueue", "StaticQueue"]

_Head = tuple[int, int, int, bool, Iterator[tuple[int, int, int]], int]
_TOP_OCTAVES = 64


class RatioClassQueue:
    """Orders by ``(W + bonus_us)^(1/n) / S`` in size classes of ratio ``2^(1/n)``."""

    def __init__(self, exponent_inverse: int, bonus_us: int) -> None:
        self._n = exponent_inverse
        self._bonus_us = bonus_us
        self._top = _TOP_OCTAVES * exponent_inverse
        self._classes: dict[tuple[int, bool], SortedList[tuple[int, int, int]]] = {}
        self._places: dict[int, tuple[Turn, tuple[int, bool], tuple[int, int, int]]] = {}

    def size_class(self, size: int) -> int:
        """Return ``floor(n * log2(size))`` for a size of at least 1, at most the top class."""
        return min(self._n * log2(size) // LOG_ONE, self._top)

    def add(self, turn: Turn) -> None:
        """Add a turn to the class of its size."""
        job = turn.job
        place = (self.size_class(turn.size), turn.starts)
        entry = (job.ready_key, job.arrival, turn.serial)
        members = self._classes.get(place)
        if members is None:
            members = self._classes[place] = SortedList()
        members.add(entry)
        self._places[turn.serial] = (turn, place, entry)
        turn.queued = True

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        _, place, entry = self._places.pop(turn.serial)
        members = self._classes[place]
        members.remove(entry)
        if not members:
            del self._classes[place]
        turn.queued = False

    def cursor(self, now_us: int) -> RatioCursor:
        """Return a walk in the order of the ratios at ``now_us``."""
        heads: list[_Head] = []
        base, top = now_us + self._bonus_us, self._top
        for (size_class, starts), members in self._classes.items():
            rest = iter(members)
            key, arrival, serial = next(rest)
            shift = top - size_class
            heads.append(((key - base) << shift, arrival, serial, starts, rest, shift))
        heapify(heads)
        return RatioCursor(heads, base, self._places)

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the negated ratio to the n-th power, scaled, then the tie-breakers."""
        ratio = (job.wait_at(now_us) + self._bonus_us) << (self._top - self.size_class(size))
        return (-ratio, job.arrival, serial)

    def __len__(self) -> int:
        return len(self._places)


class RatioCursor:
    """Merges the classes by comparing their heads."""

    def __init__(self, heads: list[_Head], base_us: int, places: Mapping[int, tuple[Turn, object, object]]) -> None:
        self._heads = heads
        self._base_us = base_us
        self._places = places
        self._no_starts = False

    def next(self) -> Turn | None:
        """Return the turn of the largest ratio not yet returned."""
        heads = self._heads
        while heads:
            _, _, serial, starts, rest, shift = heads[0]
            if starts and self._no_starts:
                heappop(heads)
                continue
            following = next(rest, None)
            if following is None:
                heappop(heads)
            else:
                scaled = (following[0] - self._base_us) << shift
                heapreplace(heads, (scaled, following[1], following[2], starts, rest, shift))
            return self._places[serial][0]
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
        self._entries: SortedList[tuple[int, ...]] = SortedList()
        self._places: dict[int, tuple[Turn, tuple[int, ...]]] = {}

    def add(self, turn: Turn) -> None:
        """Add a turn by its present size."""
        entry = self._key_of(turn.job, turn.size, turn.serial)
        self._entries.add(entry)
        self._places[turn.serial] = (turn, entry)
        turn.queued = True

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        _, entry = self._places.pop(turn.serial)
        self._entries.remove(entry)
        turn.queued = False

    def cursor(self, now_us: int) -> _ListCursor:
        """Return a walk in the static order; ``now_us`` plays no part."""
        places = self._places
        return _ListCursor(places[entry[-1]][0] for entry in self._entries)

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the static key."""
        return self._key_of(job, size, serial)

    def __len__(self) -> int:
        return len(self._places)


class ScanQueue:
    """Orders by any key of the moment, ``key_of(job, size, serial, now_us)``, with a full sort each time."""

    def __init__(self, key_of: Callable[[Job, int, int, int], tuple[int, ...]]) -> None:
        self._key_of = key_of
        self._turns: dict[int, Turn] = {}

    def add(self, turn: Turn) -> None:
        """Add a turn."""
        self._turns[turn.serial] = turn
        turn.queued = True

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added."""
        del self._turns[turn.serial]
        turn.queued = False

    def cursor(self, now_us: int) -> _ListCursor:
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
