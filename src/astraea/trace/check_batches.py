"""The report of a batch: what its steps computed and sampled, and whether the ends that it tells of can be (INV-4)."""

from __future__ import annotations

from collections.abc import Collection

from astraea.errors import ContractError
from astraea.events import BatchDone, Outcome
from astraea.policy.tables import TurnState
from astraea.trace.check_memory import Memory
from astraea.trace.check_records import Batch, Turn, broken

__all__ = ["check_outcomes", "run_steps"]


def run_steps(batch: Batch, steps: int, memory: Memory, failed: Collection[str]) -> set[str]:
    """Write the steps of a batch to its turns, but not to those that failed; return those that sampled in the last."""
    sampled = set()
    for chunk in batch.chunks:
        turn = batch.members[chunk.turn_id]
        if turn.turn_id in failed:
            memory.progress(turn, 0)
            continue
        goal, done = turn.goal_tokens, turn.context.holding.device_tokens + chunk.tokens * steps
        if steps and done >= goal:
            sampled.add(turn.turn_id)
            turn.sampled += done - goal + 1
        memory.progress(turn, chunk.tokens * steps)
    return sampled


def check_outcomes(batch: Batch, event: BatchDone, sampled: set[str], ended_before: dict[str, int]) -> None:
    """Raise where a turn of the batch ends that may not, or goes on that may not."""
    ended = {outcome.turn_id for outcome in event.ended}
    if len(ended) != len(event.ended):
        broken("INV-4", f"batch {batch.batch_id} reports a turn as ended twice")
    for outcome in event.ended:
        turn = batch.members.get(outcome.turn_id)
        if turn is None:
            line = ended_before.get(outcome.turn_id)
            if line is not None:
                broken("INV-4", f"turn {outcome.turn_id!r} ended at line {line} already")
            raise ContractError("not-in-batch", f"turn {outcome.turn_id!r} is not in batch {batch.batch_id}")
        excused = outcome.outcome is Outcome.FAILED or turn.state is TurnState.STOPPING
        if not excused and turn.turn_id not in sampled:
            broken("INV-4", f"turn {turn.turn_id!r} ended as {outcome.outcome} and sampled nothing in the last step")
    for turn in batch.members.values():
        if turn.state is TurnState.RUNNING:
            _check_count(turn, ends=turn.turn_id in ended)


def _check_count(turn: Turn, *, ends: bool) -> None:
    sampled, most = turn.sampled, turn.max_output_tokens
    if sampled > most:
        broken("INV-4", f"turn {turn.turn_id!r} sampled {sampled} tokens of at most {most}")
    if sampled == most and not ends:
        broken("INV-4", f"turn {turn.turn_id!r} sampled its last token, number {sampled}, and did not end")
