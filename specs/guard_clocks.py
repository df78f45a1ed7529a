"""The guard's clocks (``policy/guard.py``): a group that is not due has nobody at K, so no promotion is late.

``clock`` is a group's clock: it counts the dispatches from its own and later slots; ``every`` counts all of them, and
``first`` is a slot of the group before which nobody waits. Kept by every step is that nobody who waits in the group
has less slack than ``due - clock``, and that the alarm does not come later than that: ``alarm - every <= due - clock``.
So where the alarm is still to come, every slack is above 0 (*nobody is at K*). A dispatch from a slot takes one from
the slack of those who wait in earlier slots (*a dispatch*); a wait that begins may make the group due earlier (*a wait
begins*); a look counts all slacks of the group (*a look*). And what is counted as later, in three slices, is each later
slot once (*slices*).
"""

from __future__ import annotations

from typing import Final

import z3

from specs import Claims, Formula

__all__ = ["GUARD_CLOCKS"]

_GROUP: Final = 64


def _dispatch(*, own_slots_count: bool = True, first_or_later: bool = False) -> Formula:
    """Whatever slot a dispatch comes from: what is known of a waiting job's group stays true."""
    slot, origin, first, slack, due, clock, every, alarm = z3.Ints("slot origin first slack due clock every alarm")
    group, from_group = slot / _GROUP, origin / _GROUP
    given = z3.And(slot >= first, origin >= 0, first >= 0, slack >= due - clock, alarm - every <= due - clock)
    ticks = z3.If(from_group >= group if own_slots_count else from_group > group, 1, 0)
    spared = origin >= first if first_or_later else origin <= first
    put_off = z3.If(z3.And(from_group == group, spared), 1, 0) if own_slots_count else 0
    left = slack - z3.If(origin > slot, 1, 0)
    until = (due + put_off) - (clock + ticks)
    return z3.Implies(given, z3.And(left >= until, alarm - (every + 1) <= until))


def _nobody_is_at_k(*, looks_late: int = 0) -> Formula:
    slack, due, clock, every, alarm = z3.Ints("slack due clock every alarm")
    given = z3.And(slack >= due - clock, alarm - every <= due - clock, every < alarm + looks_late)
    return z3.Implies(given, slack > 0)


def _wait_begins(*, keeps_due: bool = False) -> Formula:
    """For the one who waits now and for another: due is the earlier of the two, and the alarm goes with it."""
    slack, other, due, clock, every, alarm = z3.Ints("slack other due clock every alarm")
    given = z3.And(slack > 0, other >= due - clock, alarm - every <= due - clock)
    sooner = z3.And(clock + slack < due, not keeps_due)
    new_due, new_alarm = z3.If(sooner, clock + slack, due), z3.If(sooner, every + slack, alarm)
    until = new_due - clock
    return z3.Implies(given, z3.And(slack >= until, other >= until, new_alarm - every <= until))


def _look(*, own_slots: bool = True) -> Formula:
    """``end + up_to``, the least of which is the new due, is ``clock + slack``: ``later`` is ``clock - up_to``."""
    end, clock, up_to, later, slack = z3.Ints("end clock up_to later slack")
    given = z3.And(slack == end - later, later == clock - up_to)
    return z3.Implies(given, end + (up_to if own_slots else 0) == clock + slack)


def _slices(*, rest: int = _GROUP - 1) -> Formula:
    """Each slot is in exactly one of the slices of ``PassCounter.later`` if it comes after, and else in none."""
    slot, other = z3.Ints("slot other")
    row, page = slot / _GROUP, slot / (_GROUP * _GROUP)
    end_of_row, end_of_page = row * _GROUP + rest, page * _GROUP + rest
    others_row, others_page = other / _GROUP, other / (_GROUP * _GROUP)
    in_row = z3.And(other > slot, other <= end_of_row)
    in_page = z3.And(others_row > row, others_row <= end_of_page)
    beyond = others_page > page
    counted = sum(z3.If(inside, 1, 0) for inside in (in_row, in_page, beyond))
    return z3.Implies(z3.And(slot >= 0, other >= 0), counted == z3.If(other > slot, 1, 0))


GUARD_CLOCKS: Final[Claims] = {
    "guard: a dispatch": (
        _dispatch,
        {
            "a group's own slots do not count": lambda: _dispatch(own_slots_count=False),
            "put off by later slots too": lambda: _dispatch(first_or_later=True),
        },
    ),
    "guard: nobody is at K": (_nobody_is_at_k, {"a dispatch after the alarm": lambda: _nobody_is_at_k(looks_late=1)}),
    "guard: a wait begins": (_wait_begins, {"due stays": lambda: _wait_begins(keeps_due=True)}),
    "guard: a look": (_look, {"its own slots left out": lambda: _look(own_slots=False)}),
    "guard: slices": (_slices, {"rows one short": lambda: _slices(rest=_GROUP - 2)}),
}
