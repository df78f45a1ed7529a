"""Conversations between a person and a model.

From Autellix (arXiv 2502.13965), its ShareGPT workload: 6.66 calls a program on average and 80 at most, 256 prompt and
277 output tokens a call on average. From InferCept's Table 1 (arXiv 2402.01869), chatbot: a person pauses 28.6 s, with
a deviation of 15.6 s.

Drawn as: calls geometric, cut at 80; pauses lognormal of the two moments. Assumed: the prompt tokens of a call are
those that it adds, and both token counts are lognormal with a deviation equal to the mean, at most 4,096 a call.
"""

from __future__ import annotations

from collections.abc import Iterator

from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.dice import Dice
from astraea.simulator.workloads.growth import Step, chain

__all__ = ["sharegpt_chat"]

_CALLS_MEAN, _CALLS_MAX = 6.66, 80
_PROMPT_TOKENS, _OUTPUT_TOKENS, _TOKENS_MAX = 256, 277, 4_096
_PAUSE_S = (28.6, 15.6)


def sharegpt_chat(name: str, seed: int) -> Iterator[JobSpec]:
    """Yield conversations without end; the tool between turns is ``user``."""
    dice = Dice(seed)
    index = 0
    while True:
        calls = dice.geometric_count(_CALLS_MEAN, _CALLS_MAX)
        yield JobSpec(job_id=f"{name}-{index}", turns=chain([_call(dice) for _ in range(calls)]))
        index += 1


def _call(dice: Dice) -> Step:
    return Step(
        new_prompt_tokens=dice.lognormal_count(_PROMPT_TOKENS, _PROMPT_TOKENS, most=_TOKENS_MAX),
        output_tokens=dice.lognormal_count(_OUTPUT_TOKENS, _OUTPUT_TOKENS, most=_TOKENS_MAX),
        tool="user",
        tool_wait_us=round(dice.lognormal(*_PAUSE_S) * 1_000_000),
    )
