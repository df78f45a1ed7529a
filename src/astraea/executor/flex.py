"""Decoding turns attend over the pool where it is: torch's FlexAttention, compiled, with no gather before it.

The pool is seen as one sequence of all tokens of all layers. A block mask names for each turn the blocks of it that are
its context; of these all but the last are full, and in the last what lies beyond the turn's own position is masked.
Only compiled does FlexAttention look at nothing but these blocks, so that it is never run otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from astraea.errors import UsageError
from astraea.executor.blocks import BlockPool

__all__ = ["FlexDecoding"]

_QUERIES = 128
"""Queries of a block of the mask, of which a decoding turn has one."""
_TURNS_FIRST = 16


class FlexDecoding:
    """Attention of decoding turns over one pool, in layers without a window."""

    def __init__(self, pool: BlockPool, heads: int, scale: float) -> None:
        """Compile it for a model with so many query heads and its scale of scores, which takes a minute or so.

        Raises :class:`UsageError` where there is no compiler, or the compiler does not know the number type.
        """
        self._pool = pool
        self._block_tokens = pool.block_tokens
        shape = pool.shape
        tokens = pool.token_rows().view(1, -1, 2, shape.kv_heads, shape.head_dim).permute(0, 2, 3, 1, 4)
        self._keys, self._values = tokens.unbind(1)
        self._blocks_in_all = pool.blocks * shape.layers
        self._full, self._last = self._tables(_TURNS_FIRST), self._tables(_TURNS_FIRST)
        self._compiled = torch.compile(flex_attention, dynamic=True, fullgraph=True)
        try:
            for turns in (2, 1):  # a single turn is compiled apart
                rows = torch.zeros(turns, 1, dtype=torch.long, device=shape.device)
                query = torch.zeros(turns, heads, 1, shape.head_dim, dtype=shape.dtype, device=shape.device)
                with torch.inference_mode():
                    self.attend(query, rows, rows[:, 0], scale)
        except Exception as error:
            said = " ".join(str(error).split("\n\n", 1)[0].split()) or type(error).__name__
            raise UsageError(f"FlexAttention cannot be compiled here: {said}") from error

    def _tables(self, turns: int) -> torch.Tensor:
        # As wide as all blocks, which is asked for; only what a mask counts is read.
        return torch.zeros(turns, 1, 1, self._blocks_in_all, dtype=torch.int32, device=self._pool.tensor.device)

    def attend(
        self, query: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """Return what each turn's query attends to, ``[turns, heads, 1, head_dim]``, as ``query`` is.

        ``rows``: ``[turns, blocks]``, the pool's rows of the layer's blocks, as of :meth:`BlockPool.block_rows`;
        ``positions``: ``[turns]``, where each query stands.
        """
        turns, width = rows.shape
        if turns > len(self._full):
            self._full, self._last = self._tables(2 * turns), self._tables(2 * turns)
        block_tokens = self._block_tokens
        whole, within = positions // block_tokens, positions % block_tokens
        full, last = self._full[:turns], self._last[:turns]
        full[:, 0, 0, :width] = rows
        last[:, 0, 0, 0] = rows.gather(1, whole[:, None])[:, 0]

        def is_seen(turn: Any, _head: Any, _query: Any, token: Any) -> Any:  # noqa: ANN401 - traced, of any kind
            return token % block_tokens <= within[turn]

        mask = BlockMask(
            seq_lengths=(1, self._keys.shape[2]),
            kv_num_blocks=torch.ones(turns, 1, 1, dtype=torch.int32, device=rows.device),
            kv_indices=last,
            full_kv_num_blocks=whole.to(torch.int32)[:, None, None],
            full_kv_indices=full,
            q_num_blocks=None, q_indices=None, full_q_num_blocks=None, full_q_indices=None,
            BLOCK_SIZE=(_QUERIES, block_tokens),
            mask_mod=is_seen,
        )  # fmt: skip
        attended: torch.Tensor = self._compiled(
            query, self._keys, self._values, block_mask=mask, scale=scale, enable_gqa=True
        )
        return attended
