"""The guard's clocks (``policy/guard.py``): nobody who is not due has reached K, so no promotion is late.

``clock`` is a group's clock, which counts the dispatches from its own and later slots, and ``all`` counts all of them.
Kept by every step is that a waiting job's slack is at least what its entry leaves of it, ``due - clock``, and that a
group's alarm does not come after the first of its entries, ``alarm - all <= due - clock``. So where the alarm is still
to come, every slack is above 0 (*nobody is at K*). A dispatch from a slot takes one from the slack of jobs in earlier
slots (*a dispatch*). Between the waits of a job its slack stands and the clocks run on (*an old entry*). And what is
counted as later, in three slices, is each later slot once (*slices*).
"""

from __future__ import annotations

from typing import Final

import z3

from specs import Claims, Formula

__all__ = ["GUARD_CLOCKS"]

_GROUP: Final = 256
_ROW: Final = 64


def _dispatch(*, own_group_counts: bool = True) -> Formula:
    """Whatever slot a dispatch comes from, what an entry says of a job's slack stays true, and so does the alarm."""
    slot, origin, slack, due, clock, every, alarm = z3.Ints("slot origin slack due clock every alarm")
    group, from_group = slot / _GROUP, origin / _GROUP
    given = z3.And(slot >= 0, origin >= 0, slack >= due - clock, alarm - every <= due - clock)
    ticks = z3.If(from_group >= group if own_group_counts else from_group > group, 1, 0)
    left = slack - z3.If(origin > slot, 1, 0)
    return z3.Implies(given, z3.And(left >= due - (clock + ticks), alarm - (every + 1) <= due - (clock + ticks)))


def _nobody_is_at_k(*, looks_late: int = 0) -> Formula:
    slack, due, clock, every, alarm = z3.Ints("slack due clock every alarm")
    given = z3.And(slack >= due - clock, alarm - every <= due - clock, every < alarm + looks_late)
    return z3.Implies(given, slack > 0)


def _old_entry(*, slack_grows: bool = False) -> Formula:
    """An entry of an earlier wait may stand: between waits the slack stays and the clock does not go back."""
    slack, due, clock, ticks, more = z3.Ints("slack due clock ticks more")
    given = z3.And(slack >= due - clock, ticks >= 0, more >= 0)
    later = slack - more if slack_grows else slack
    return z3.Implies(given, later >= due - (clock + ticks))


def _new_entry(*, from_zero: bool = False) -> Formula:
    """An entry made now says exactly what is left, and an alarm made with it, or an earlier one, is not too late."""
    slack, clock, every, alarm = z3.Ints("slack clock every alarm")
    due = (0 if from_zero else clock) + slack
    given = z3.And(slack > 0, clock >= 0, alarm <= every + slack)
    return z3.Implies(given, z3.And(slack >= due - clock, alarm - every <= due - clock))


def _slices(*, rest: int = _ROW - 1) -> Formula:
    """Each slot is in exactly one of the slices of ``PassCounter.later`` if it comes after, and else in none."""
    slot, other = z3.Ints("slot other")
    row, page = slot / _ROW, slot / (_ROW * _ROW)
    end_of_row, end_of_page = row * _ROW + rest, page * _ROW + rest
    others_row, others_page = other / _ROW, other / (_ROW * _ROW)
    in_row = z3.And(other > slot, other <= end_of_row)
    in_page = z3.And(others_row > row, others_row <= end_of_page)
    beyond = others_page > page
    counted = sum(z3.If(inside, 1, 0) for inside in (in_row, in_page, beyond))
    return z3.Implies(z3.And(slot >= 0, other >= 0), counted == z3.If(other > slot, 1, 0))


GUARD_CLOCKS: Final[Claims] = {
    "guard: a dispatch": (_dispatch, {"a group's own slots do not count": lambda: _dispatch(own_group_counts=False)}),
    "guard: nobody is at K": (_nobody_is_at_k, {"a dispatch after the alarm": lambda: _nobody_is_at_k(looks_late=1)}),
    "guard: an old entry": (_old_entry, {"bypassed between its waits": lambda: _old_entry(slack_grows=True)}),
    "guard: a new entry": (_new_entry, {"the clock left out": lambda: _new_entry(from_zero=True)}),
    "guard: slices": (_slices, {"rows one short": lambda: _slices(rest=_ROW - 2)}),
}
