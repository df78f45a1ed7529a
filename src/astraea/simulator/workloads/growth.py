"""How a job's context grows over its turns, so that what a source says of the whole holds exactly."""

from __future__ import annotations

from attrs import frozen

from astraea.simulator.jobs import TurnSpec

__all__ = ["Step", "chain"]


@frozen(slots=True)
class Step:
    """What one turn adds to a context: prompt tokens, then output tokens; and the wait that follows it."""

    new_prompt_tokens: int
    output_tokens: int
    tool: str
    tool_wait_us: int


def chain(steps: list[Step]) -> tuple[TurnSpec, ...]:
    """Return the turns of a context to which every step adds and none takes away; nothing is waited for at the end."""
    turns: list[TurnSpec] = []
    held_tokens = 0
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        context_tokens = held_tokens + step.new_prompt_tokens
        turns.append(
            TurnSpec(
                new_prompt_tokens=step.new_prompt_tokens,
                context_tokens=context_tokens,
                output_tokens=step.output_tokens,
                tool=None if last else step.tool,
                tool_wait_us=0 if last else step.tool_wait_us,
            )
        )
        held_tokens = context_tokens + step.output_tokens
    return tuple(turns)
