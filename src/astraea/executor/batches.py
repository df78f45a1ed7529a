"""Runs the owed batch: step after step of the same chunks on the model, until a turn ends or something else is to do.

A step's tokens are read once the next step is prepared, so that a device that computes by itself has it ready. What
goes wrong in a batch fails its turns and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import Factory, define

from astraea.errors import AstraeaError
from astraea.executor.attention import PagedModel
from astraea.executor.halves import logits_of
from astraea.executor.placing import settle
from astraea.executor.ragged import Row
from astraea.executor.requests import Finish
from astraea.executor.sampling import Drawn, draw
from astraea.executor.steps import Steps
from astraea.executor.turns import LiveTurn

__all__ = ["BatchRun", "run_batch"]


@define(eq=False)
class BatchRun:
    """What a batch came to."""

    steps: int = 0
    ended: dict[LiveTurn, tuple[Finish, str]] = Factory(dict)
    """How turns ended in the last step, with the error of those that failed."""


def run_batch(
    model: PagedModel,
    chunks: Sequence[tuple[LiveTurn, int]],
    max_steps: int,
    is_interrupted: Callable[[], bool],
) -> BatchRun:
    """Run up to ``max_steps`` steps of the chunks: turns with their tokens a step, and blocks for all the steps.

    Stops after the first step in which a turn ended, and as soon as ``is_interrupted`` says so after a step.
    """
    run = BatchRun()
    try:
        _run(model, chunks, max_steps, is_interrupted, run)
    except AstraeaError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the model raised, its turns fail and the others go on
        run.ended = {turn: (Finish.FAILED, f"{type(error).__name__}: {error}") for turn, _ in chunks}
    return run


def _run(
    model: PagedModel,
    chunks: Sequence[tuple[LiveTurn, int]],
    max_steps: int,
    is_interrupted: Callable[[], bool],
    run: BatchRun,
) -> None:
    rows = [Row(turn.table, turn.done, tokens) for turn, tokens in chunks]
    batch = model.batch(rows)
    turns = [chunks[i][0] for i in batch.order]
    rows = [rows[i] for i in batch.order]
    all_steps = Steps(batch, turns, rows)
    step = all_steps.first()
    while True:
        logits = logits_of(model, batch, rows, run.steps, step)
        sampled = [turns[i] for i in step.samples]
        drawn = draw(logits, [turn.sampler for turn in sampled]) if sampled else None
        run.steps += 1
        if run.steps < max_steps:  # from here on a CUDA device computes, and nobody waits for it
            batch.advance()
            step = all_steps.after(run.steps, step, None if drawn is None else drawn.tokens)
        if drawn is not None:
            _take(run, sampled, drawn)
        else:
            settle(batch.positions.device)
        if run.ended or run.steps == max_steps or is_interrupted():
            return


def _take(run: BatchRun, turns: Sequence[LiveTurn], drawn: Drawn) -> None:
    """Wait for the tokens that were drawn, and give each turn its own."""
    told = drawn.told()
    for turn, token, logprob in zip(turns, told.tokens, told.logprobs, strict=True):
        if token is None:
            run.ended[turn] = Finish.FAILED, "the model's logits are not finite"
            continue
        try:
            finish = turn.take(token, logprob)
        except Exception as error:  # noqa: BLE001 - a client's own callback fails its own turn
            run.ended[turn] = Finish.FAILED, f"{type(error).__name__}: {error}"
            continue
        if finish is not None:
            run.ended[turn] = finish, ""
