"""Runs the owed batch: step after step of the same chunks on the model, until a turn ends or something else is to do.

What goes wrong in a batch fails its turns and nothing else. Where memory runs out, the step is tried once more in two
halves, each with half of the turns, or half of the tokens where there is one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from attrs import Factory, define

from astraea.errors import AstraeaError
from astraea.executor.attention import PagedModel
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.requests import Finish
from astraea.executor.sampling import draw
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
    batch = RaggedBatch(model.pool, rows)
    turns = [chunks[i][0] for i in batch.order]
    rows = [rows[i] for i in batch.order]
    while True:
        steps = run.steps
        begins = [row.start + steps * row.tokens for row in rows]
        ids = _ids(turns, rows, begins)
        samples = [
            i
            for i, (turn, row, begin) in enumerate(zip(turns, rows, begins, strict=True))
            if begin + row.tokens >= len(turn.known)
        ]
        logits = _whole(model, batch, ids, samples)
        if logits is None:
            logits = _in_halves(model, rows, begins, ids, samples)
        _sample(run, [turns[i] for i in samples], logits)
        run.steps += 1
        if run.ended or run.steps == max_steps or is_interrupted():
            return
        batch.advance()


def _whole(model: PagedModel, batch: RaggedBatch, ids: Sequence[int], samples: Sequence[int]) -> torch.Tensor | None:
    """Compute one step and return the logits of ``samples``, or ``None`` where memory ran out.

    It ends before the step is tried again, for the error that tells of it holds on to all that was computed so far.
    """
    try:
        return model.forward(batch, torch.tensor(ids, device=batch.positions.device), _last(batch, samples))
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    return None


def _ids(turns: Sequence[LiveTurn], rows: Sequence[Row], begins: Sequence[int]) -> list[int]:
    ids: list[int] = []
    for turn, row, begin in zip(turns, rows, begins, strict=True):
        if row.tokens == 1:
            ids.append(turn.known[begin])
        else:
            ids += turn.known[begin : begin + row.tokens]
    return ids


def _last(batch: RaggedBatch, samples: Sequence[int]) -> torch.Tensor:
    """Return where in the batch the tokens stand whose logits are wanted."""
    last = batch.last_tokens
    return last if len(samples) == len(last) else last[torch.tensor(samples, dtype=torch.long, device=last.device)]


def _sample(run: BatchRun, turns: Sequence[LiveTurn], logits: torch.Tensor) -> None:
    if not turns:
        return
    drawn = draw(logits, [turn.sampler for turn in turns])
    for i, (turn, token) in enumerate(zip(turns, drawn.tokens, strict=True)):
        if drawn.finite is not None and not drawn.finite[i]:
            run.ended[turn] = Finish.FAILED, "the model's logits are not finite"
            continue
        try:
            finish = turn.take(token, drawn.logprobs[i] if drawn.logprobs is not None else None)
        except Exception as error:  # noqa: BLE001 - a client's own callback fails its own turn
            run.ended[turn] = Finish.FAILED, f"{type(error).__name__}: {error}"
            continue
        if finish is not None:
            run.ended[turn] = finish, ""


def _out_of_memory(error: RuntimeError) -> bool:
    # The CPU allocator raises a plain RuntimeError, so only its words tell; they differ between systems.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _in_halves(
    model: PagedModel, rows: Sequence[Row], begins: Sequence[int], ids: Sequence[int], samples: Sequence[int]
) -> torch.Tensor:
    """Compute one step in two passes and return the logits of ``samples``."""
    if model.pool.tensor.is_cuda:
        torch.cuda.empty_cache()
    now = [Row(row.table, begin, row.tokens) for row, begin in zip(rows, begins, strict=True)]
    if len(now) > 1:
        parts = [now[: len(now) // 2], now[len(now) // 2 :]]
        wanted = [[i for i in samples if i < len(parts[0])], [i - len(parts[0]) for i in samples if i >= len(parts[0])]]
    else:
        (row,) = now
        half = row.tokens // 2
        if not half:
            raise torch.OutOfMemoryError("one token of one turn does not fit")
        parts = [[Row(row.table, row.start, half)], [Row(row.table, row.start + half, row.tokens - half)]]
        wanted = [[], list(samples)]
    logits, done = [], 0
    for part, samples_of_part in zip(parts, wanted, strict=True):
        count = sum(row.tokens for row in part)
        logits.append(_pass(model, part, ids[done : done + count], samples_of_part))
        done += count
    return torch.cat(logits)


def _pass(model: PagedModel, rows: Sequence[Row], ids: Sequence[int], samples: Sequence[int]) -> torch.Tensor:
    """Compute some rows, whose ids stand in their order, and return the logits of ``samples`` in theirs."""
    batch = RaggedBatch(model.pool, rows)
    begins, begin = [], 0
    for row in rows:
        begins.append(begin)
        begin += row.tokens
    ordered = [token for i in batch.order for token in ids[begins[i] : begins[i] + rows[i].tokens]]
    place = {i: k for k, i in enumerate(batch.order)}
    device = batch.positions.device
    wanted = batch.last_tokens[torch.tensor([place[i] for i in samples], dtype=torch.long, device=device)]
    return model.forward(batch, torch.tensor(ordered, device=device), wanted)
