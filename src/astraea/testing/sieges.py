"""Besieges one job: it comes, and others keep coming after it for as long as the siege is to last (LIVE-1).

If what the job suffers grows with the siege, no bound holds. A siege keeps a fixed number of others waiting, so that a
scheduler that serves in order is passed nowhere, however long it is kept busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from attrs import frozen

from astraea.testing.adapter import Factory
from astraea.testing.moves import Job, Shape, Turn
from astraea.testing.run import Run

__all__ = ["Siege", "besiege", "grows", "sieges"]

_STEPS_PER_COMER_MAX = 40


@frozen(slots=True)
class Siege:
    """Who is besieged, and by whom."""

    name: str
    victim: Job
    comer: Job
    backlog: int
    """How many requests of others are kept waiting."""


def sieges(shape: Shape) -> Iterator[Siege]:
    """Yield the sieges for a scheduler of this shape: victims of three kinds, others of three kinds, two backlogs."""
    block, pool = shape.block_tokens, shape.pool_tokens
    victims = {
        "a large prompt": Job((Turn(max(1, pool // 2), block),)),
        "one like the others": Job((Turn(block, 2),)),
        "a long job": Job((Turn(max(1, pool // 3), 2 * block, 0, 20_000), Turn(block, block, 0, 20_000), Turn(4, 4))),
    }
    comers = {
        "short ones": Job((Turn(max(1, block // 2), 2),)),
        "chains of short turns": Job((Turn(4, 2, 0, 10_000),) * 3),
        "middling ones": Job((Turn(max(1, pool // 6), block),)),
    }
    for victim, victim_job in victims.items():
        for comer, comer_job in comers.items():
            for backlog in (1, 4):
                yield Siege(f"{victim} among {comer}, {backlog} of them waiting", victim_job, comer_job, backlog)


def besiege(factory: Factory, siege: Siege, comers: int) -> Run:
    """Besiege with so many others, and return the run as it is when the last of them has been sent."""
    run = Run(factory)
    for _ in range(siege.backlog + 1):
        run.arrive(siege.comer)
        run.step()
    run.arrive(siege.victim)
    sent = 0
    for _ in range(_STEPS_PER_COMER_MAX * comers):
        while sent < comers and _waiting(run) < siege.backlog + 1:
            run.arrive(siege.comer)
            sent += 1
        if sent == comers or run.over or run.watch.stuck:
            break
        run.step()
    return run


def _waiting(run: Run) -> int:
    return sum(life.state == "waiting" for life in run.watch.live())


def grows(worst: list[int]) -> bool:
    """Say whether the worst bypass grows with the siege, which is twice as long each time: by half at least."""
    return worst[0] > 0 and all(2 * longer >= 3 * shorter for shorter, longer in pairwise(worst))
