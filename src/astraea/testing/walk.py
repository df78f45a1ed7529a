"""A plain seeded walk: moves as Hypothesis draws them, drawn by a generator. ``walk(factory, 17)`` repeats itself.

It is what another process can be asked to repeat, and what a scheduler's author can run in a debugger.
"""

from __future__ import annotations

import random

from astraea.testing.adapter import Factory
from astraea.testing.moves import Advance, Arrive, Cancel, CancelAll, Move, Shape, draw_job
from astraea.testing.run import Run, play

__all__ = ["draw_moves", "walk"]


def draw_moves(seed: int, shape: Shape, count: int) -> list[Move]:
    """Return ``count`` moves, the same for the same seed and shape."""
    rng = random.Random(seed)
    moves: list[Move] = []
    for _ in range(count):
        kind = rng.choices((Arrive, Advance, Cancel, CancelAll), (12, 15, 3, 1))[0]
        if kind is Arrive:
            burst = rng.choice([1, 1, 1, 2, 4])
            moves.append(Arrive(tuple(draw_job(shape, rng.randint) for _ in range(burst))))
        elif kind is Advance:
            moves.append(Advance(rng.choice([1, 1, 2, 3, 8, 20])))
        else:
            moves.append(Cancel(rng.randrange(8)) if kind is Cancel else CancelAll())
    return moves


def walk(factory: Factory, seed: int, count: int = 30) -> Run:
    """Walk ``count`` moves from a seed, let the scheduler come to rest, and return the run with all breaches found."""
    return play(factory, draw_moves(seed, Shape.of(factory()), count))
