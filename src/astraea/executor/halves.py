"""One step of a batch on the model: at once, or in two halves where memory runs out.

Each half has half of the turns, or half of the tokens where there is one turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from astraea.executor.attention import PagedModel
from astraea.executor.placing import placed
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.steps import Step

__all__ = ["logits_of"]


def logits_of(model: PagedModel, batch: RaggedBatch, rows: Sequence[Row], steps: int, step: Step) -> torch.Tensor:
    """Compute the step after ``steps`` of a batch and return the logits where it samples.

    ``rows``: as they were in the first step, in the batch's order. Raises what the model raises, and
    :class:`torch.OutOfMemoryError` or its like where half of the step finds no memory either.
    """
    logits = _whole(model, batch, step)
    if logits is None:
        now = [Row(row.table, row.start + steps * row.tokens, row.tokens) for row in rows]
        logits = _in_halves(model, now, step)
    return logits


def _whole(model: PagedModel, batch: RaggedBatch, step: Step) -> torch.Tensor | None:
    """Compute a step and return its logits, or ``None`` where memory ran out.

    It ends before the step is tried again, for the error that tells of it holds on to all that was computed so far.
    """
    try:
        return model.forward(batch, step.ids, step.last)
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    return None


def _out_of_memory(error: RuntimeError) -> bool:
    # The CPU allocator raises a plain RuntimeError, so only its words tell; they differ between systems.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _in_halves(model: PagedModel, rows: Sequence[Row], step: Step) -> torch.Tensor:
    if model.pool.tensor.is_cuda:
        torch.cuda.empty_cache()
    if len(rows) > 1:
        half = len(rows) // 2
        parts = [rows[:half], rows[half:]]
        wanted = [[i for i in step.samples if i < half], [i - half for i in step.samples if i >= half]]
    else:
        (row,) = rows
        half = row.tokens // 2
        if not half:
            raise torch.OutOfMemoryError("one token of one turn does not fit")
        parts = [[Row(row.table, row.start, half)], [Row(row.table, row.start + half, row.tokens - half)]]
        wanted = [[], list(step.samples)]
    ids = torch.split(step.ids, [sum(row.tokens for row in part) for part in parts])
    return torch.cat([_pass(model, *half) for half in zip(parts, ids, wanted, strict=True)])


def _pass(model: PagedModel, rows: Sequence[Row], ids: torch.Tensor, samples: Sequence[int]) -> torch.Tensor:
    """Compute some rows, whose ids stand in their order, and return the logits of ``samples`` in theirs."""
    batch = model.batch(rows)
    pieces = torch.split(ids, [row.tokens for row in rows])
    place = {i: k for k, i in enumerate(batch.order)}
    wanted = batch.last_tokens[placed([place[i] for i in samples], ids.device)]
    return model.forward(batch, torch.cat([pieces[i] for i in batch.order]), wanted)
