"""The same moves as Hypothesis strategies, so that what breaks a claim shrinks to the few calls that matter."""

from __future__ import annotations

from hypothesis import strategies as st

from astraea.testing.moves import Advance, Arrive, Cancel, CancelAll, Job, Move, Shape, draw_job

__all__ = ["arrivals", "jobs", "moves", "streams"]


_ALL = 8


@st.composite
def jobs(draw: st.DrawFn, shape: Shape) -> Job:
    """Draw a job of one to three turns with tool waits between them."""
    return draw_job(shape, lambda low, high: draw(st.integers(low, high)))


def arrivals(shape: Shape) -> st.SearchStrategy[Move]:
    """Draw one job that arrives, or a burst of up to four."""
    return st.lists(jobs(shape), min_size=1, max_size=4).map(lambda burst: Arrive(tuple(burst)))


def moves(shape: Shape) -> st.SearchStrategy[Move]:
    """Draw one move: arrivals, steps, or clients that go away, one or all."""
    steps, one = st.integers(1, 20).map(Advance), st.integers(0, _ALL)
    return st.one_of(arrivals(shape), steps, one.map(lambda choice: Cancel(choice) if choice < _ALL else CancelAll()))


def streams(shape: Shape, moves_max: int = 30) -> st.SearchStrategy[list[Move]]:
    """Draw the moves of a whole run."""
    return st.lists(moves(shape), min_size=1, max_size=moves_max)
