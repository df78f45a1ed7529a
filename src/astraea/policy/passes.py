"""How many dispatches came from later slots: a counter that adds in three steps and sums short slices.

*Slots* are places in order of arrival, cut into *groups* of 64, and these into pages of 64 groups (or of another power
of two). Each dispatch is counted for its slot, its group and its page. The dispatches from slots after a given one are
those in the rest of its group, in the rest of its page and on later pages.
"""

from __future__ import annotations

from itertools import accumulate

__all__ = ["PassCounter"]


class PassCounter:
    """Counts dispatches by slot, in groups of ``2 ** group_bits``."""

    def __init__(self, slots: int, group_bits: int) -> None:
        self._bits = group_bits
        self._rest = (1 << group_bits) - 1
        self._by_slot = [0] * slots
        self._by_group = [0] * ((slots >> group_bits) + 1)
        self._by_page = [0] * ((slots >> 2 * group_bits) + 1)

    def count(self, slot: int) -> None:
        """Count a dispatch from a slot."""
        bits = self._bits
        self._by_slot[slot] += 1
        self._by_group[slot >> bits] += 1
        self._by_page[slot >> 2 * bits] += 1

    def later(self, slot: int) -> int:
        """Return how many dispatches came from slots after this one."""
        bits, rest = self._bits, self._rest
        group, page = slot >> bits, slot >> 2 * bits
        return (
            sum(self._by_slot[slot + 1 : (slot | rest) + 1])
            + sum(self._by_group[group + 1 : (group | rest) + 1])
            + sum(self._by_page[page + 1 :])
        )

    def since(self, group: int) -> int:
        """Return how many dispatches came from this group and later ones."""
        page = group >> self._bits
        return sum(self._by_group[group : (group | self._rest) + 1]) + sum(self._by_page[page + 1 :])

    def up_to(self, group: int) -> accumulate[int]:
        """Return for each slot of a group how many dispatches came from it and earlier slots of the group."""
        return accumulate(self._by_slot[group << self._bits : (group + 1) << self._bits])
