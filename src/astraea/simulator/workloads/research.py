"""Research agents with long waits, sub-agents and a prefix that all of them share.

No source publishes such jobs with measured waits: every figure here is an assumption, made to exercise what the other
workloads leave out (waits of minutes, parallel contexts, shared prefixes) at contexts of up to 100,000 tokens.

* All prompts of all jobs begin with the same 4,096 tokens of system prompt and tool definitions.
* The lead plans, and waits for a person to approve the plan: lognormal, 180 s with a deviation of 240 s.
* Then come 2 to 4 rounds. In each the lead (branch 0) goes on while 1 to 3 sub-agents read side by side, each in a
  fresh context of prefix, task and pages: lognormal, 16,000 tokens with a deviation of 10,000, at most 60,000. Each
  of them ends in a browsing tool: lognormal, 45 s with a deviation of 90 s, at most half an hour.
* The lead's last turn writes the report.
* The lead's context ends at a lognormal 50,000 tokens (deviation 20,000), cut to 16,000 .. 100,000, output included.
* Outputs: sub-agents 400 tokens, lead 300, report 1,500, each lognormal with half the mean as deviation.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.workloads.dice import Dice
from astraea.simulator.workloads.growth import Step, chain

__all__ = ["deep_research"]

_PREFIX_ID, _PREFIX_TOKENS = "deep-research/tools", 4_096
_FINAL_TOKENS, _FINAL_TOKENS_MIN, _FINAL_TOKENS_MAX = (50_000, 20_000), 16_000, 100_000
_PAGES_TOKENS, _PAGES_TOKENS_MAX = (16_000, 10_000), 60_000
_LEAD_OUTPUT, _REPORT_OUTPUT, _READER_OUTPUT = 300, 1_500, 400
_APPROVAL_S, _BROWSE_S, _WAIT_S_MAX = (180, 240), (45, 90), 1_800


def deep_research(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield research jobs without end."""
    dice = Dice(seed)
    index = 0
    while True:
        yield _job(f"{name}-{index}", dice)
        index += 1


def _job(job_id: str, dice: Dice) -> JobSpec:
    plan, *rounds, report = _lead(dice, rounds=2 + dice.below(3))
    turns = [plan]
    for group, turn in enumerate(rounds):
        turns.append(evolve(turn, parallel_group=group))
        turns.extend(_reader(dice, group) for _ in range(1 + dice.below(3)))
    return JobSpec(
        job_id=job_id,
        turns=(*turns, report),
        shared_prefix_id=_PREFIX_ID,
        shared_prefix_tokens=_PREFIX_TOKENS,
    )


def _lead(dice: Dice, rounds: int) -> tuple[TurnSpec, ...]:
    """Return the turns of the lead's own context: plan, one for each round, report."""
    outputs = [_around(dice, _LEAD_OUTPUT) for _ in range(rounds + 1)] + [_around(dice, _REPORT_OUTPUT)]
    final_tokens = dice.lognormal_count(*_FINAL_TOKENS, least=_FINAL_TOKENS_MIN, most=_FINAL_TOKENS_MAX)
    weights = [dice.exponential(1.0) for _ in outputs]
    prompts = dice.shares(final_tokens - _PREFIX_TOKENS - sum(outputs), weights)
    prompts[0] += _PREFIX_TOKENS
    waits_us = [_wait_us(dice, _APPROVAL_S)] + [_wait_us(dice, _BROWSE_S) for _ in outputs[1:]]
    tools = ["approval"] + ["browse"] * (len(outputs) - 1)
    return chain([Step(*step) for step in zip(prompts, outputs, tools, waits_us, strict=True)])


def _reader(dice: Dice, group: int) -> TurnSpec:
    """Return a sub-agent's turn: a fresh context, of which nothing but the shared prefix was held before."""
    pages_tokens = dice.lognormal_count(*_PAGES_TOKENS, most=_PAGES_TOKENS_MAX)
    return TurnSpec(
        new_prompt_tokens=_PREFIX_TOKENS + pages_tokens,
        context_tokens=_PREFIX_TOKENS + pages_tokens,
        output_tokens=_around(dice, _READER_OUTPUT),
        tool="browse",
        tool_wait_us=_wait_us(dice, _BROWSE_S),
        parallel_group=group,
    )


def _around(dice: Dice, mean: int) -> int:
    return dice.lognormal_count(mean, mean / 2, most=2 * mean)


def _wait_us(dice: Dice, seconds: tuple[float, float]) -> int:
    return round(min(dice.lognormal(*seconds), _WAIT_S_MAX) * 1_000_000)
