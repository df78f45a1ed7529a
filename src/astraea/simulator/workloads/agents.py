"""Coding and web agents with the figures of Continuum (arXiv 2511.02230), Table 2, as mean and standard deviation.

============  ==========  ================  ==================
workload      turns       tool time (ms)    tokens per program
============  ==========  ================  ==================
SWE-bench     10.9, 2.1   925, 3550         70,126, 19,732
BFCL v4 web   6.3, 2.3    1923, 2133        93,256, 68,687
============  ==========  ================  ==================

Drawn as: turns normal, rounded, at least 2; tool times lognormal of the two moments, which gives the heavy tail that
the paper describes; tokens lognormal of the two moments.

Assumed: tokens per program is the context at the end, last output included, and a program stops at a window of 131,072
tokens (which cuts the mean of BFCL to about 80,000). Outputs of a turn are lognormal with mean 150 tokens (SWE-bench)
or 120 (BFCL) and a deviation equal to it. The rest of the context is prompt: it falls to the turns by exponential
weights, the first of which counts twice for system prompt, tool definitions and task.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.dice import Dice
from astraea.simulator.workloads.growth import Step, chain

__all__ = ["WINDOW_TOKENS", "bfcl", "swebench"]

WINDOW_TOKENS = 131_072
_TURNS_MIN = 2
_FINAL_TOKENS_MIN = 2_048
_OUTPUT_TOKENS_MAX = 2_048


@frozen(slots=True)
class _Agent:
    """One row of the table; milliseconds, counts and tokens as (mean, deviation); then what is assumed."""

    turns: tuple[float, float]
    wait_ms: tuple[float, float]
    final_tokens: tuple[float, float]
    output_tokens: int
    tool: str


_SWEBENCH = _Agent((10.9, 2.1), (925, 3_550), (70_126, 19_732), 150, "bash")
_BFCL = _Agent((6.3, 2.3), (1_923, 2_133), (93_256, 68_687), 120, "web")


def swebench(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield coding agents without end: many turns, mostly short waits, contexts that end near 70,000 tokens."""
    return _jobs(name, _SWEBENCH, Dice(seed))


def bfcl(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield web-search agents without end: few turns, contexts of very unequal length."""
    return _jobs(name, _BFCL, Dice(seed))


def _jobs(name: str, agent: _Agent, dice: Dice) -> Iterator[JobSpec]:
    index = 0
    while True:
        yield _job(f"{name}-{index}", agent, dice)
        index += 1


def _job(job_id: str, agent: _Agent, dice: Dice) -> JobSpec:
    turns = dice.normal_count(*agent.turns, least=_TURNS_MIN)
    final_tokens = dice.lognormal_count(*agent.final_tokens, least=_FINAL_TOKENS_MIN, most=WINDOW_TOKENS)
    output_cap = min(_OUTPUT_TOKENS_MAX, final_tokens // (2 * turns))
    outputs = [dice.lognormal_count(agent.output_tokens, agent.output_tokens, most=output_cap) for _ in range(turns)]
    weights = [dice.exponential(2.0)] + [dice.exponential(1.0) for _ in range(turns - 1)]
    prompts = dice.shares(final_tokens - sum(outputs), weights)
    steps = [
        Step(new_tokens, output_tokens, agent.tool, round(dice.lognormal(*agent.wait_ms) * 1_000))
        for new_tokens, output_tokens in zip(prompts, outputs, strict=True)
    ]
    return JobSpec(job_id=job_id, turns=chain(steps))
