"""The guard's tree (``policy/guard.py``): after each dispatch its root is the least slack of all, level by level.

``above`` is the sum of ``add`` over the nodes above a node. What the tree promises of a node over the slots
``[lo, hi)`` is that ``low + above`` is the least slack there. The induction goes over the levels, from the dispatched
leaf up: a subtree that hangs off to the left of the walk is decremented whole (*below*), and by its ``add`` all the
nodes in it, while their own ``low`` stands (*inside*); one to the right stays, for its slots do not come before the
leaf (*beside*); and each node on the walk joins its two halves (*join*). At the root ``above`` is 0, so ``low[1]`` is
the least slack.

The dispatched leaf itself keeps its slack or leaves the tree; to set a leaf is a walk of joins alone. Infinite slack is
a large number in the code, and any number here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import z3

from specs import Claims, Formula

__all__ = ["SLACK_TREE"]

_SLACK: Final = z3.Function("slack", z3.IntSort(), z3.IntSort())


def _least(slack: Callable[[Formula], Formula], lo: Formula, hi: Formula, value: Formula) -> Formula:
    slot = z3.Int("slot")
    within = z3.And(lo <= slot, slot < hi)
    bound = z3.ForAll([slot], z3.Implies(within, slack(slot) >= value))
    return z3.And(bound, z3.Exists([slot], z3.And(within, slack(slot) == value)))


def _min(a: Formula, b: Formula) -> Formula:
    return z3.If(a < b, a, b)


def _after(slack: Callable[[Formula], Formula], leaf: Formula) -> Callable[[Formula], Formula]:
    """Return the slacks after a dispatch from the slot ``leaf``: one less in every slot before it."""
    return lambda slot: slack(slot) - z3.If(slot < leaf, 1, 0)


def _identity(*, adds: bool = True) -> Formula:
    """A node that is decremented whole keeps ``low = min(left, right) + add``."""
    low, left, right, add = z3.Ints("low left right add")
    return z3.Implies(low == _min(left, right) + add, low - 1 == _min(left, right) + (add - 1 if adds else add))


def _below(*, left_of_leaf: bool = True) -> Formula:
    lo, hi, leaf, low, above = z3.Ints("lo hi leaf low above")
    before = z3.And(hi <= leaf if left_of_leaf else lo <= leaf, _least(_SLACK, lo, hi, low + above))
    return z3.Implies(before, _least(_after(_SLACK, leaf), lo, hi, low - 1 + above))


def _inside(*, adds: bool = True) -> Formula:
    """A node inside a subtree whose root's ``add`` is decremented; ``between`` is the sum of those between the two."""
    lo, hi, leaf, low, between, add, above = z3.Ints("lo hi leaf low between add above")
    before = z3.And(hi <= leaf, _least(_SLACK, lo, hi, low + between + add + above))
    after = low + between + (add - 1 if adds else add) + above
    return z3.Implies(before, _least(_after(_SLACK, leaf), lo, hi, after))


def _beside(*, by: int = 0) -> Formula:
    lo, hi, leaf, low, above = z3.Ints("lo hi leaf low above")
    before = z3.And(leaf < lo, _least(_SLACK, lo, hi, low + above))
    return z3.Implies(before, _least(_after(_SLACK, leaf), lo, hi, low - by + above))


def _join(*, adds: bool = True) -> Formula:
    lo, mid, hi, left, right, add, above = z3.Ints("lo mid hi left right add above")
    halves = [_least(_SLACK, lo, mid, left + add + above), _least(_SLACK, mid, hi, right + add + above)]
    low = _min(left, right) + (add if adds else 0)
    return z3.Implies(z3.And(lo < mid, mid < hi, *halves), _least(_SLACK, lo, hi, low + above))


SLACK_TREE: Final[Claims] = {
    "tree: the identity of a node": (_identity, {"low without add": lambda: _identity(adds=False)}),
    "tree: below": (_below, {"the subtree of the leaf": lambda: _below(left_of_leaf=False)}),
    "tree: inside": (_inside, {"add stands too": lambda: _inside(adds=False)}),
    "tree: beside": (_beside, {"decremented as well": lambda: _beside(by=1)}),
    "tree: join": (_join, {"without add": lambda: _join(adds=False)}),
}
