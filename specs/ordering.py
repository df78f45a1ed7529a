"""The ordering lemma: what ``policy/ranking.py`` compares is the order of the ratios, exactly and at all times.

W is the wait before plus ``now - ready``, and ``ready_key`` is ``ready`` less the wait before. Ratios are compared to
the n-th power: ``(W + w0) / 2^c``, where the class c of a size stands for S^n.
"""

from __future__ import annotations

from typing import Final

import z3

from specs import Claims, Formula

__all__ = ["ORDERING"]


def _ratio_orders_by(*, key_has_wait: bool, one_class: bool) -> Formula:
    now, w0, ready1, ready2, had1, had2 = z3.Ints("now w0 ready1 ready2 had1 had2")
    size1, size2, ratio1, ratio2 = z3.Reals("size1 size2 ratio1 ratio2")
    key1, key2 = (ready1 - had1, ready2 - had2) if key_has_wait else (ready1, ready2)
    given = z3.And(
        w0 > 0, had1 >= 0, had2 >= 0, now >= ready1, now >= ready2, size1 > 0, size2 > 0,
        ratio1 * size1 == z3.ToReal(had1 + now - ready1 + w0),
        ratio2 * size2 == z3.ToReal(had2 + now - ready2 + w0),
        size1 == size2 if one_class else True,
    )  # fmt: skip
    return z3.Implies(given, z3.And((key1 < key2) == (ratio1 > ratio2), (key1 == key2) == (ratio1 == ratio2)))


def _powers(base: int = 2) -> Formula:
    """A shift by s multiplies by ``power(s)``: that powers of sums are products, and positive, by induction on b.

    ``power`` is given by its two equations, the second one where the step needs it.
    """
    a, b = z3.Ints("a b")
    power = z3.Function("power", z3.IntSort(), z3.IntSort())
    equations = z3.And(power(0) == 1, *[power(n + 1) == 2 * power(n) for n in (a + b, b)])
    first = z3.And(power(a + 0) == power(a) * power(0), power(0) > 0)
    hypothesis = z3.And(power(a + b) == power(a) * power(b), power(b) > 0)
    step = z3.And(power(a + b + 1) == power(a) * (base * power(b)), power(b + 1) > 0)
    return z3.Implies(equations, z3.And(first, z3.Implies(hypothesis, step)))


def _shifts_compare(*, by_class: bool = False) -> Formula:
    """With waits x = W + w0, sizes 2^c and shifts by top - c: the scaled waits compare as the cross products do.

    Over the reals, and so for integers. Sizes and shifts are given by 2^c * 2^(top - c) = 2^top.
    """
    x1, x2, size1, size2, shift1, shift2, top = z3.Reals("x1 x2 size1 size2 shift1 shift2 top")
    given = z3.And(size1 > 0, size2 > 0, top > 0, shift1 > 0, shift2 > 0, size1 * shift1 == top, size2 * shift2 == top)
    scaled1, scaled2 = (x1 * size1, x2 * size2) if by_class else (x1 * shift1, x2 * shift2)
    cross1, cross2 = x1 * size2, x2 * size1
    return z3.Implies(
        given, z3.And((scaled1 > scaled2) == (cross1 > cross2), (scaled1 == scaled2) == (cross1 == cross2))
    )


def _quotients_compare() -> Formula:
    """The wrong way to do the same: rounding quotients calls equal what is not."""
    x1, x2, size1, size2 = z3.Ints("x1 x2 size1 size2")
    return z3.Implies(
        z3.And(x1 > 0, x2 > 0, size1 > 0, size2 > 0), (x1 / size1 > x2 / size2) == (x1 * size2 > x2 * size1)
    )


ORDERING: Final[Claims] = {
    "order: in a class the ratio is ready_key, at all times": (
        lambda: _ratio_orders_by(key_has_wait=True, one_class=True),
        {
            "across classes": lambda: _ratio_orders_by(key_has_wait=True, one_class=False),
            "by the time of readiness alone": lambda: _ratio_orders_by(key_has_wait=False, one_class=True),
        },
    ),
    "order: 2^(a+b) = 2^a 2^b at b = 0, and from b to b + 1": (_powers, {"with base 3": lambda: _powers(base=3)}),
    "order: shifts compare as cross products": (
        _shifts_compare,
        {
            "shifts by the class itself": lambda: _shifts_compare(by_class=True),
            "rounded quotients": _quotients_compare,
        },
    ),
}
