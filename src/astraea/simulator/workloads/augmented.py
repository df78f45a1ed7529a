"""InferCept's six kinds of augmented generation (Abhyankar et al., ICML 2024, arXiv 2402.01869), Table 1.

From the table, as mean and spread (which behaves like a standard deviation): the time of an interception, the number of
interceptions of a request, and the length of the context when intercepted. Drawn as: lognormal of these two moments, at
least 10 microseconds; normal, rounded, at least 1; lognormal.

Assumed, for the table is silent: a request ends with one turn after its last interception. What a turn decodes and what
a tool returns is lognormal, with the means below and half of them as deviation, scaled down where they would make up
more than three quarters of the context. The first prompt is what makes the mean of the job's context over its
interceptions the drawn length. The tool bears the name of the kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.dice import Dice
from astraea.simulator.workloads.growth import Step, chain

__all__ = ["calculator", "infercept_mix"]

_WAIT_US_MIN = 10


@frozen(slots=True)
class _Kind:
    """One row of the table; seconds, counts and tokens as (mean, spread); then the two assumed means."""

    name: str
    wait_s: tuple[float, float]
    interceptions: tuple[float, float]
    context_tokens: tuple[float, float]
    output_tokens: int
    returned_tokens: int


_MATH = _Kind("math", (9e-5, 6e-5), (3.75, 1.3), (1422, 738), 30, 5)
_KINDS = (
    _MATH,
    _Kind("qa", (0.69, 0.17), (2.52, 1.73), (1846, 428), 40, 100),
    _Kind("ve", (0.09, 0.014), (28.18, 15.2), (2185, 115), 15, 25),
    _Kind("chatbot", (28.6, 15.6), (4.45, 1.96), (753, 703), 120, 40),
    _Kind("image", (20.03, 7.8), (6.91, 3.93), (1247, 792), 50, 20),
    _Kind("tts", (17.24, 7.6), (6.91, 3.93), (1251, 792), 50, 20),
)


def infercept_mix(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield jobs without end: the six kinds in equal shares by count, shuffled within every six."""
    dice = Dice(seed)
    index = 0
    while True:
        for kind_index in dice.permutation(len(_KINDS)):
            yield _job(f"{name}-{index}", _KINDS[kind_index], dice)
            index += 1


def calculator(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield jobs of the math kind alone: a calculator that answers within microseconds."""
    dice = Dice(seed)
    index = 0
    while True:
        yield _job(f"{name}-{index}", _MATH, dice)
        index += 1


def _job(job_id: str, kind: _Kind, dice: Dice) -> JobSpec:
    interceptions = dice.normal_count(*kind.interceptions)
    context_tokens = dice.lognormal_count(*kind.context_tokens, least=4 * interceptions + 4)
    outputs = [_around(dice, kind.output_tokens) for _ in range(interceptions + 1)]
    returns = [_around(dice, kind.returned_tokens) for _ in range(interceptions)]
    excess = _mean_growth(outputs, returns) / (0.75 * context_tokens)
    if excess > 1.0:
        outputs = [max(1, int(tokens / excess)) for tokens in outputs]
        returns = [max(1, int(tokens / excess)) for tokens in returns]
    first_prompt_tokens = max(1, context_tokens - round(_mean_growth(outputs, returns)))
    prompts = [first_prompt_tokens, *returns]
    waits_us = [max(_WAIT_US_MIN, round(dice.lognormal(*kind.wait_s) * 1_000_000)) for _ in returns]
    steps = [Step(*step) for step in zip(prompts, outputs, [kind.name] * len(prompts), [*waits_us, 0], strict=True)]
    return JobSpec(job_id=job_id, turns=chain(steps))


def _around(dice: Dice, mean: int) -> int:
    return dice.lognormal_count(mean, mean / 2)


def _mean_growth(outputs: list[int], returns: list[int]) -> float:
    """Return how far the context stands above the first prompt at an interception, averaged over the interceptions."""
    grown, total = 0, 0
    for output_tokens, returned_tokens in zip(outputs[:-1], returns, strict=True):
        grown += output_tokens
        total += grown
        grown += returned_tokens
    return total / len(returns)
