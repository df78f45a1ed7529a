"""Tool waits with a heavier or a lighter tail than they have, and the same mean."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from astraea.simulator.jobs import JobSpec

__all__ = ["with_tail"]


def with_tail(jobs: Sequence[JobSpec], exponent: float) -> list[JobSpec]:
    """Return the jobs with every tool wait ``w`` replaced by ``w^exponent``, scaled so that the sum stays.

    1 changes nothing, 0 makes all waits alike, more than 1 makes the long ones longer and the others shorter. A wait of
    0 stays 0: there was no tool to wait for.
    """
    waits = [turn.tool_wait_us for job in jobs for turn in job.turns if turn.tool_wait_us]
    if not waits:
        return list(jobs)
    scale = sum(waits) / sum(wait**exponent for wait in waits)
    return [
        evolve(
            job,
            turns=tuple(
                evolve(turn, tool_wait_us=max(1, round(scale * turn.tool_wait_us**exponent)))
                if turn.tool_wait_us
                else turn
                for turn in job.turns
            ),
        )
        for job in jobs
    ]
