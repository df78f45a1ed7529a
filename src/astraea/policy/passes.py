"""How many dispatches came from later slots: a counter that adds in three steps and sums short slices.

*Slots* are places in order of arrival. Each dispatch is counted three times: for its slot, for its row of 64 slots and
for its page of 64 rows. The dispatches from slots after a given one are those in the rest of its row, in the rest of
its page and on later pages.
"""

from __future__ import annotations

__all__ = ["PassCounter"]

_BITS = 6
_REST = (1 << _BITS) - 1


class PassCounter:
    """Counts dispatches by slot."""

    def __init__(self, slots: int) -> None:
        self._by_slot = [0] * slots
        self._by_row = [0] * ((slots >> _BITS) + 1)
        self._by_page = [0] * ((slots >> 2 * _BITS) + 1)

    def count(self, slot: int) -> None:
        """Count a dispatch from a slot."""
        self._by_slot[slot] += 1
        self._by_row[slot >> _BITS] += 1
        self._by_page[slot >> 2 * _BITS] += 1

    def later(self, slot: int) -> int:
        """Return how many dispatches came from slots after ``slot``, which may be -1: all of them."""
        row, page = slot >> _BITS, slot >> 2 * _BITS
        return (
            sum(self._by_slot[slot + 1 : (slot | _REST) + 1])
            + sum(self._by_row[row + 1 : (row | _REST) + 1])
            + sum(self._by_page[page + 1 :])
        )
