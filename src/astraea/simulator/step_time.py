"""How long the modelled engine takes: a step costs a constant, its tokens, the context it reads, and attention.

    step = c + a * tokens + b * context tokens read + sum over prefill chunks of p + q * tokens * (context + tokens / 2)

in exact integer picoseconds, so that a hundred steps at once take precisely as long as a hundred single ones. A chunk
of one token is a decode and pays neither p nor the quadratic term; its cost is the context that it reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from astraea.simulator.agents import stages_of
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import EngineProfile

__all__ = ["PS_PER_US", "StepCost", "alone_us", "step_cost"]

PS_PER_US = 1_000_000


@frozen(slots=True)
class StepCost:
    """Cost of equal steps in a row: the first takes ``first_ps``, each later one ``slope_ps`` more than the last."""

    first_ps: int
    slope_ps: int

    def total_ps(self, steps: int) -> int:
        """Return the time of ``steps`` steps."""
        return self.first_ps * steps + self.slope_ps * (steps * (steps - 1) // 2)

    def steps_until(self, limit_ps: int, steps_max: int) -> int:
        """Return the fewest steps, 1 to ``steps_max``, that take at least ``limit_ps``; ``steps_max`` if none do."""
        if self.total_ps(steps_max) <= limit_ps:
            return steps_max
        low, high = 1, steps_max
        while low < high:
            middle = (low + high) // 2
            if self.total_ps(middle) >= limit_ps:
                high = middle
            else:
                low = middle + 1
        return low


def step_cost(profile: EngineProfile, chunks: Iterable[tuple[int, int]]) -> StepCost:
    """Return the cost of steps whose chunks are ``(context tokens held, tokens a step)`` before the first step."""
    tokens = context = pieces = quadratic = growth = 0
    for held, count in chunks:
        tokens += count
        context += held
        if count > 1:
            pieces += 1
            quadratic += count * (2 * held + count)
            growth += count * count
    read, pair = profile.read_ps_per_context_token, profile.attention_ps_per_token_pair
    fixed_ns = profile.step_ns + profile.piece_ns * pieces + profile.prefill_ns_per_token * tokens
    first = 1000 * fixed_ns + read * context + pair * quadratic // 2
    return StepCost(first, read * tokens + pair * growth)


def alone_us(profile: EngineProfile, job: JobSpec) -> int:
    """Return the job's time alone on the engine with every cache kept; tool waits count, but after the last stage."""
    total_ps = held = 0
    stages = stages_of(job.turns)
    for number, stage in enumerate(stages, start=1):
        branches = []
        for branch, turn in enumerate(stage):
            start = 0 if branch else min(held, turn.reusable_tokens, turn.context_tokens - 1)
            wait_us = turn.tool_wait_us if number < len(stages) else 0
            branches.append(_turn_ps(profile, start, turn) + wait_us * PS_PER_US)
        total_ps += max(branches)
        held = stage[0].context_tokens + stage[0].output_tokens - 1
    return max(1, total_ps // PS_PER_US)


def _turn_ps(profile: EngineProfile, start: int, turn: TurnSpec) -> int:
    budget, left, total_ps = profile.step_tokens_max, turn.context_tokens - start, 0
    whole = left // budget
    if whole:
        total_ps += step_cost(profile, [(start, budget)]).total_ps(whole)
        start, left = start + whole * budget, left - whole * budget
    if left:
        total_ps += step_cost(profile, [(start, left)]).total_ps(1)
    return total_ps + step_cost(profile, [(turn.context_tokens, 1)]).total_ps(turn.output_tokens - 1)
