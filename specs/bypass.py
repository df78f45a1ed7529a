"""The bypass bound (rule 1, LIVE-1) as an inductive invariant, for any number of jobs and any chooser.

Jobs are an uninterpreted sort, so there may be any number of them. Who is dispatched next is any job that the guard
lets through, so the proof holds for every ranking, estimate and eviction. The guard here bars less than
``admission.py``, which while a promoted job waits bars earlier jobs that are not promoted too: the bound holds with
either.

A wrong variant is refuted by a state of the invariant from which one step leaves it; that such a state can be reached
is not shown here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import z3

from specs import Claims, Formula

__all__ = ["BYPASS"]


class _Jobs:
    """The state: what is true of each job."""

    sort = z3.DeclareSort("Job")
    K = z3.Int("K")
    arrival = z3.Function("arrival", sort, z3.IntSort())

    def __init__(self, when: str) -> None:
        flag = [z3.Function(f"{name}{when}", self.sort, z3.BoolSort()) for name in ("known", "waits", "promoted")]
        self.known, self.waits, self.promoted = flag
        self.bypasses = z3.Function(f"bypasses{when}", self.sort, z3.IntSort())

    @staticmethod
    def all(claim: Callable[[Formula], Formula]) -> Formula:
        job = z3.Const("job", _Jobs.sort)
        return z3.ForAll([job], claim(job))

    def invariant(self) -> Formula:
        def holds(j: Formula) -> Formula:
            bound = z3.And(self.bypasses(j) >= 0, self.bypasses(j) <= self.K)
            new = z3.Implies(z3.Not(self.known(j)), z3.Not(self.waits(j)))
            return z3.And(
                new, z3.Implies(self.known(j), z3.And(bound, z3.Implies(self.bypasses(j) == self.K, self.promoted(j))))
            )

        return z3.And(self.K >= 0, self.all(holds))

    def same(self, after: _Jobs, *, but: Formula) -> Formula:
        names = ("known", "waits", "promoted", "bypasses")
        return self.all(
            lambda j: z3.Or(j == but, *[z3.And(*[getattr(after, n)(j) == getattr(self, n)(j) for n in names])])
        )


def _arrive(old: _Jobs, new: _Jobs, j: Formula, wrong: str) -> Formula:
    last = old.all(lambda i: z3.Implies(old.known(i), old.arrival(i) < old.arrival(j)))
    promoted = new.promoted(j) == (False if wrong == "K = 0 promotes nobody" else old.K == 0)
    fresh = z3.And(new.known(j), new.waits(j), new.bypasses(j) == 0, promoted)
    return z3.And(z3.Not(old.known(j)), last, fresh, old.same(new, but=j))


def _wait(old: _Jobs, new: _Jobs, j: Formula, wrong: str) -> Formula:
    promoted = False if wrong == "a wait begins anew" else old.promoted(j)
    kept = z3.And(new.known(j), new.bypasses(j) == old.bypasses(j), new.promoted(j) == promoted)
    return z3.And(old.known(j), z3.Not(old.waits(j)), new.waits(j), kept, old.same(new, but=j))


def _unwait(old: _Jobs, new: _Jobs, j: Formula, wrong: str) -> Formula:
    promoted = False if wrong == "not sticky" else old.promoted(j)
    kept = z3.And(new.known(j), new.bypasses(j) == old.bypasses(j), new.promoted(j) == promoted)
    return z3.And(old.waits(j), z3.Not(new.waits(j)), kept, old.same(new, but=j))


def _dispatch(old: _Jobs, new: _Jobs, j: Formula, wrong: str) -> Formula:
    """A turn of j is dispatched; whether another one of it goes on waiting is open."""

    def passed(i: Formula) -> Formula:
        return z3.And(old.waits(i), old.arrival(i) < old.arrival(j))

    def counted(i: Formula) -> Formula:
        bypasses = old.bypasses(i) + z3.If(passed(i), 1, 0)
        due = bypasses >= old.K + (1 if wrong == "promotion at K + 1" else 0)
        return z3.And(
            new.known(i) == old.known(i), new.bypasses(i) == bypasses, new.promoted(i) == z3.Or(old.promoted(i), due),
            z3.Or(i == j, new.waits(i) == old.waits(i)),
        )  # fmt: skip

    guard = old.all(lambda i: z3.Not(z3.And(passed(i), old.promoted(i))))
    if wrong == "no guard":
        guard = True
    if wrong == "guard only for the earliest":
        first = z3.Const("first", _Jobs.sort)
        earliest = old.all(lambda i: z3.Implies(old.waits(i), old.arrival(first) <= old.arrival(i)))
        guard = z3.And(old.waits(first), earliest, z3.Or(first == j, z3.Not(old.promoted(first))))
    return z3.And(old.waits(j), guard, z3.Implies(new.waits(j), old.waits(j)), old.all(counted))


def _init(*, empty: bool = True) -> Formula:
    state = _Jobs("")
    nobody = state.all(lambda j: z3.Not(z3.Or(state.known(j) if empty else False, state.waits(j))))
    return z3.Implies(z3.And(state.K >= 0, nobody), state.invariant())


def _kept_by(action: Callable[[_Jobs, _Jobs, Formula, str], Formula], wrong: str = "") -> Callable[[], Formula]:
    def claim() -> Formula:
        old, new, job = _Jobs(""), _Jobs("'"), z3.Const("of", _Jobs.sort)
        return z3.Implies(z3.And(old.invariant(), action(old, new, job, wrong)), new.invariant())

    return claim


def _nobody_comes_to_k() -> Formula:
    """False: else the proof would be of a world in which nothing happens."""
    old, new, job = _Jobs(""), _Jobs("'"), z3.Const("of", _Jobs.sort)
    step = z3.And(old.K > 1, old.invariant(), _dispatch(old, new, job, ""))
    return z3.Implies(step, new.all(lambda i: z3.Or(new.bypasses(i) < new.K, old.bypasses(i) == old.K)))


BYPASS: Final[Claims] = {
    "bypass: init": (_init, {"jobs known before": lambda: _init(empty=False)}),
    "bypass: arrive": (_kept_by(_arrive), {"K = 0 promotes nobody": _kept_by(_arrive, "K = 0 promotes nobody")}),
    "bypass: wait": (_kept_by(_wait), {"a wait begins anew": _kept_by(_wait, "a wait begins anew")}),
    "bypass: unwait": (_kept_by(_unwait), {"not sticky": _kept_by(_unwait, "not sticky")}),
    "bypass: dispatch": (
        _kept_by(_dispatch),
        {
            "no guard": _kept_by(_dispatch, "no guard"),
            "guard only for the earliest": _kept_by(_dispatch, "guard only for the earliest"),
            "promotion at K + 1": _kept_by(_dispatch, "promotion at K + 1"),
            "nobody comes to K": _nobody_comes_to_k,
        },
    ),
}
