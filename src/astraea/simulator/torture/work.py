"""Jobs that are hard on a small pool: sizes relative to the pool, waits relative to a step, several of everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from astraea.policy.limits import Limits
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.step_time import alone_us
from astraea.simulator.workloads.dice import Dice

__all__ = ["chosen", "draw_jobs"]

_T = TypeVar("_T")
_PREFIX_SHARES = {"tools": 12, "handbook": 5}
"""Shared prefixes, and what part of the pool each is: one block at least."""


def chosen(dice: Dice, values: Sequence[_T]) -> _T:
    """Return one of the values."""
    return values[dice.below(len(values))]


def draw_jobs(dice: Dice, profile: EngineProfile, limits: Limits, count: int) -> tuple[JobSpec, ...]:
    """Return jobs with arrivals, in order: a Poisson stream at a load between idle and twice too much."""
    habits = _Habits(dice, profile, limits)
    jobs = [habits.job(number) for number in range(count)]
    served = [max(1, alone_us(profile, job) - sum(turn.tool_wait_us for turn in job.turns)) for job in jobs]
    side_by_side = max(1, min(limits.batch_turns_max, limits.device_tokens // habits.typical_tokens))
    gap_us = sum(served) / count / side_by_side / chosen(dice, (0.3, 0.7, 0.9, 1.1, 2.0))
    at_us, arrived = 0, []
    for job in jobs:
        at_us += int(dice.exponential(gap_us))
        arrived.append(_arriving(job, at_us))
    return tuple(arrived)


def _arriving(job: JobSpec, at_us: int) -> JobSpec:
    return JobSpec(
        job.job_id, job.turns, at_us, job.session_id, job.tenant, job.shared_prefix_id, job.shared_prefix_tokens
    )


class _Habits:
    """What the clients of one round are like."""

    def __init__(self, dice: Dice, profile: EngineProfile, limits: Limits) -> None:
        self._dice = dice
        self._pool = limits.device_tokens
        self._block = limits.block_tokens
        self._step_us = max(1, profile.step_ns // 1000)
        self._tenants = 1 + dice.below(3)
        self._turns_max = chosen(dice, (1, 3, 5, 9))
        self._prompt_share = chosen(dice, (40, 16, 6, 3))
        self._outputs = chosen(dice, ((1, 2, 3), (3, 12, 40), (30, 90, 200), (1, 40, 400)))
        self._waits = chosen(dice, ((0,), (0, 1, 30), (10, 200), (0, 30, 2_000)))
        self._prefixed = chosen(dice, (0.0, 0.5, 1.0))
        self._parallel = chosen(dice, (0.0, 0.3))
        self._edited = chosen(dice, (0.0, 0.15))
        self._returning = chosen(dice, (0.0, 0.4))
        self._sessions: list[JobSpec] = []
        self.typical_tokens = min(self._pool, max(1, self._pool // self._prompt_share) + self._outputs[1])

    def job(self, number: int) -> JobSpec:
        """Return one job without arrival: a new session, or one that was there before."""
        dice = self._dice
        if self._sessions and dice.uniform() < self._returning:
            before = chosen(dice, self._sessions)
            turns = self._turns(number, before.shared_prefix_tokens)
            return JobSpec(
                f"j{number}", turns, None, before.session_id, before.tenant, before.shared_prefix_id,
                before.shared_prefix_tokens,
            )  # fmt: skip
        prefix_id, prefix_tokens = "", 0
        if dice.uniform() < self._prefixed:
            prefix_id = chosen(dice, tuple(_PREFIX_SHARES))
            prefix_tokens = max(self._block, self._pool // _PREFIX_SHARES[prefix_id])
        tenant = f"t{dice.below(self._tenants)}"
        turns = self._turns(number, prefix_tokens)
        job = JobSpec(f"j{number}", turns, None, f"s{number}", tenant, prefix_id, prefix_tokens)
        self._sessions.append(job)
        return job

    def _turns(self, number: int, prefix_tokens: int) -> tuple[TurnSpec, ...]:
        dice, pool = self._dice, self._pool
        share = 1 if dice.below(40) == 0 else self._prompt_share
        count = 1 + dice.below(self._turns_max)
        group = number if count > 2 and dice.uniform() < self._parallel else None  # noqa: PLR2004 - a middle to split
        turns: list[TurnSpec] = []
        held = prefix_tokens
        for index in range(count):
            new = 1 + dice.below(max(1, pool // share if not index else pool // share // 4))
            reusable = held // 2 if index and dice.uniform() < self._edited else held
            output = min(chosen(dice, self._outputs), max(1, pool // 2))
            context = min(reusable + new, max(1, pool - output))
            new = max(1, context - reusable)
            last = index == count - 1
            turns.append(
                TurnSpec(
                    new, context, output, None if last else f"tool{dice.below(3)}",
                    0 if last else self._step_us * chosen(dice, self._waits), group if 0 < index < count - 1 else None,
                )
            )  # fmt: skip
            held = context + output
        return tuple(turns)
