"""What each step of a batch reads and where it is to draw tokens: known before the tokens of the step before are.

A token that was drawn is the next step's input where it is, on the device. So the next step is prepared while the
device computes, and nothing here asks it for a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import frozen

from astraea.executor.placing import placed
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.turns import LiveTurn

__all__ = ["Step", "Steps"]


@frozen(slots=True, eq=False)
class Step:
    """One step, its rows in the batch's order."""

    ids: torch.Tensor
    """``[tokens]``: what is computed."""
    samples: Sequence[int]
    """Rows that are computed to the end of what is known, so that their next token is drawn."""
    last: torch.Tensor
    """Where in ``ids`` the last token of each of these stands."""


@frozen(slots=True, eq=False)
class Steps:
    """The steps of one batch."""

    batch: RaggedBatch
    turns: Sequence[LiveTurn]
    """In the batch's order, and so are the rows."""
    rows: Sequence[Row]
    """As they are in the first step."""

    def first(self) -> Step:
        """Return the first step."""
        return self._laid_out(0, ())

    def after(self, steps: int, before: Step, drawn: torch.Tensor | None) -> Step:
        """Return the step after so many, for a batch that has advanced to it, given the tokens that ``before`` drew."""
        if drawn is None:
            return self._laid_out(steps, ())
        if len(before.samples) == len(self.rows) == len(before.ids):
            return Step(drawn, before.samples, before.last)
        step = self._laid_out(steps, before.samples)
        step.ids[before.last] = drawn
        return step

    def _laid_out(self, steps: int, drawn: Sequence[int]) -> Step:
        """Return a step in which one token of each row of ``drawn`` is not known here."""
        ids: list[int] = []
        samples: list[int] = []
        awaited = set(drawn)
        for i, (turn, row) in enumerate(zip(self.turns, self.rows, strict=True)):
            begin, known = row.start + steps * row.tokens, len(turn.known)
            if i in awaited:
                known += 1
                ids.append(0)
            elif row.tokens == 1:
                ids.append(turn.known[begin])
            else:
                ids += turn.known[begin : begin + row.tokens]
            if begin + row.tokens >= known:
                samples.append(i)
        device, last = self.batch.positions.device, self.batch.last_tokens
        if len(samples) < len(self.rows):
            last = last[placed(samples, device)]
        return Step(placed(ids, device), samples, last)
