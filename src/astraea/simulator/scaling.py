"""The same work in small: every length and every wait times a factor, so that a slower engine can have it too."""

from __future__ import annotations

from attrs import evolve

from astraea.simulator.agents import stages_of
from astraea.simulator.jobs import JobSpec

__all__ = ["scaled"]


def scaled(job: JobSpec, lengths: float, waits: float) -> JobSpec:
    """Return the job with its token counts times ``lengths`` and its tool waits times ``waits``, both above 0.

    Nothing becomes less than a token, and what a prompt shares with its context's history stays shared: a prompt that
    went on from all of it still does. Arrivals stay.
    """
    turns = []
    before = now = 0  # length of the main context's history: as it was, and as it is now
    for number, stage in enumerate(stages_of(job.turns)):
        for branch, turn in enumerate(stage):
            reused = int(turn.reusable_tokens * lengths)
            if number and not branch:
                reused = now if turn.reusable_tokens == before else min(reused, now)
            new = _times(turn.new_prompt_tokens, lengths)
            turns.append(
                evolve(
                    turn,
                    new_prompt_tokens=new,
                    context_tokens=reused + new,
                    output_tokens=_times(turn.output_tokens, lengths),
                    tool_wait_us=round(turn.tool_wait_us * waits),
                )
            )
        before = stage[0].context_tokens + stage[0].output_tokens
        main = turns[-len(stage)]
        now = main.context_tokens + main.output_tokens
    prefix = int(job.shared_prefix_tokens * lengths)
    return evolve(
        job,
        turns=tuple(turns),
        shared_prefix_id=job.shared_prefix_id if prefix else "",
        shared_prefix_tokens=prefix,
    )


def _times(tokens: int, factor: float) -> int:
    return max(1, round(tokens * factor))
