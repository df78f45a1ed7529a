"""What the kit's clients do, as values: a run is a list of moves, so it can be drawn, shrunk, repeated and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from astraea.testing.adapter import Adapter
from astraea.units import blocks_for

__all__ = ["Advance", "Arrive", "Cancel", "CancelAll", "Job", "Move", "Shape", "Turn", "draw_job"]


@frozen(slots=True)
class Turn:
    """One LLM call of a job before it is sent."""

    new_tokens: int
    """Prompt beyond what the job's last turn left, at least 1."""
    output_tokens: int
    slack_tokens: int = 0
    """How much more than its output the client allows."""
    tool_us: int = 0
    """How long the tool takes that it calls; the last turn of a job calls none."""


@frozen(slots=True)
class Job:
    """The turns of a job, at least one."""

    turns: tuple[Turn, ...]


@frozen(slots=True)
class Arrive:
    """Jobs arrive at one moment: several are a burst."""

    jobs: tuple[Job, ...]


@frozen(slots=True)
class Cancel:
    """The client of a live request goes away."""

    choice: int
    """Index among the live requests, modulo their number."""


@frozen(slots=True)
class Advance:
    """The scheduler makes so many steps."""

    steps: int


@frozen(slots=True)
class CancelAll:
    """All clients of live requests go away at once, and the jobs whose tools are at work with them."""


Move: TypeAlias = Arrive | Cancel | CancelAll | Advance


@frozen(slots=True)
class Shape:
    """What sizes make sense for a scheduler: requests are drawn in proportion to its pool."""

    pool_tokens: int
    block_tokens: int

    @classmethod
    def of(cls, adapter: Adapter) -> Shape:
        """Return the shape of an adapter; one without a pool is given requests for a pool of 32 blocks."""
        blocks = 32 if adapter.pool_blocks is None else adapter.pool_blocks
        return cls(blocks * adapter.block_tokens, adapter.block_tokens)

    def blocks_for(self, tokens: int) -> int:
        """Return the blocks that ``tokens`` tokens fill."""
        return blocks_for(tokens, self.block_tokens)


def draw_job(shape: Shape, between: Callable[[int, int], int]) -> Job:
    """Draw a job with ``between(low, high)``, ends included: Hypothesis gives one that shrinks, a generator a quick.

    Most jobs are small beside the pool, some take a good part of it, and one in twelve does not fit into it.
    """
    block, pool = shape.block_tokens, shape.pool_tokens
    sizes = (3 * block,) * 7 + (pool // 4,) * 2 + (pool // 2,) * 2 + (2 * pool,)
    most_new = max(1, sizes[between(0, len(sizes) - 1)])
    turns = (
        Turn(
            new_tokens=between(1, most_new),
            output_tokens=between(1, 2 * block),
            slack_tokens=between(0, 1) * between(0, block),
            tool_us=10_000 * between(0, 6),
        )
        for _ in range(between(1, 3))
    )
    return Job(tuple(turns))
