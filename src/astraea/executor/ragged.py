"""One forward pass over many turns of different lengths: where each token's KV is written and what it attends to.

The tokens of all turns stand in one row, ``[1, tokens]``: first those that decode, one token each and the longest
first, then the pieces of prompts. Decoding turns of similar length attend together, each padded to the longest of its
group, which is less than twice as long; a piece of a prompt attends alone. The same batch goes on for many steps:
``advance`` moves every turn on by its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import define, frozen
from torch.nn.functional import scaled_dot_product_attention

from astraea.executor.blocks import BlockPool
from astraea.executor.flex import FlexDecoding
from astraea.executor.placing import placed
from astraea.units import blocks_for

__all__ = ["RaggedBatch", "Row"]


@frozen(slots=True)
class Row:
    """What one turn computes in a step."""

    table: Sequence[int]
    """Addresses of its blocks, enough for all the steps that the batch is to run."""
    start: int
    """Tokens whose KV it holds already."""
    tokens: int
    """Tokens that it computes in each step, at least 1."""


@define(slots=True, eq=False)
class _Group:
    """Tokens ``[begin, end)`` of the batch that attend in one call."""

    begin: int
    end: int
    first_row: int
    decodes: bool
    longest: int
    """Tokens before the first that the longest turn computes in this step."""
    same_length: bool = True
    rows: torch.Tensor | None = None
    """``[layers, turns * blocks]``: rows of the pool to gather."""
    blocks: int = 0
    """Blocks of each turn in ``rows``."""


class RaggedBatch:
    """The turns of one batch, laid out for attention."""

    def __init__(self, pool: BlockPool, rows: Sequence[Row], flex: FlexDecoding | None = None) -> None:
        """Lay out rows; with ``flex`` decoding turns attend through it, in layers without a window."""
        self.pool = pool
        self._flex = flex
        self._splits = flex is None or any(window is not None for window in pool.shape.windows)
        """Whether decoding turns of different lengths are padded to each other, so that they attend in groups."""
        self._block_tokens = pool.block_tokens
        self._token_rows = pool.token_rows()
        self._block_rows = pool.block_rows()
        decoding = sorted((i for i, row in enumerate(rows) if row.tokens == 1), key=lambda i: -rows[i].start)
        self.order = (*decoding, *(i for i, row in enumerate(rows) if row.tokens > 1))
        """Indices of the rows in the order of their tokens."""
        self._ordered = [rows[i] for i in self.order]
        self._groups = self._grouped(len(decoding))
        self._begin()
        self._lay_out()

    @property
    def attention_calls(self) -> int:
        """Calls of attention that each layer makes."""
        return len(self._groups)

    def _grouped(self, decoding: int) -> list[_Group]:
        groups: list[_Group] = []
        for i, row in enumerate(self._ordered[:decoding]):
            if groups and (not self._splits or 2 * (row.start + 1) > groups[-1].longest):
                groups[-1].end = i + 1
                groups[-1].same_length &= row.start == groups[-1].longest
            else:
                groups.append(_Group(i, i + 1, i, decodes=True, longest=row.start))
        begin = decoding
        for i, row in enumerate(self._ordered[decoding:], start=decoding):
            groups.append(_Group(begin, begin + row.tokens, i, decodes=False, longest=row.start))
            begin += row.tokens
        return groups

    def _begin(self) -> None:
        """Put tables, positions and the distance of each step where the model is."""
        device, layers = self.pool.tensor.device, self.pool.shape.layers
        rows = self._ordered
        blocks: list[int] = []
        offsets: list[int] = []
        positions: list[int] = []
        strides: list[int] = []
        for row in rows:
            offsets += [len(blocks)] * row.tokens
            positions += range(row.start, row.start + row.tokens)
            strides += [row.tokens] * row.tokens
            blocks += row.table
        self._row_offsets = _offsets(rows)
        integers = placed([*blocks, *offsets, *positions, *strides], device)
        self._tables, self._offsets, self.positions, self._strides = torch.split(
            integers, [len(blocks), len(offsets), len(positions), len(strides)]
        )
        self.last_tokens = placed(_ends(rows), device)
        """Index in the batch of each row's last token of the step, in this batch's order."""
        self._layers = torch.arange(layers, device=device)[:, None]

    def advance(self) -> None:
        """Go on to the next step: each turn holds the tokens of this one."""
        self.positions = self.positions + self._strides
        for group in self._groups:
            group.longest += 1 if group.decodes else group.end - group.begin
        self._lay_out()

    def _lay_out(self) -> None:
        block_tokens, layers = self._block_tokens, self.pool.shape.layers
        blocks = self._tables[self._offsets + self.positions // block_tokens]
        places = blocks * (layers * block_tokens) + self.positions % block_tokens
        self._writes = places + self._layers * block_tokens
        self._masks: dict[tuple[int, int | None], torch.Tensor | None] = {}
        for group in self._groups:
            count = group.end - group.begin
            held = blocks_for(group.longest + (1 if group.decodes else count), block_tokens)
            if held != group.blocks and (group.decodes or group.longest):
                group.blocks = held
                group.rows = self._gathered(group)

    def _gathered(self, group: _Group) -> torch.Tensor:
        """Return the pool's rows of the group's blocks; a shorter turn repeats its last block, which is masked."""
        turns = range(group.first_row, group.first_row + (group.end - group.begin if group.decodes else 1))
        offsets, rows = self._row_offsets, self._ordered
        last = [offsets[i] + len(rows[i].table) - 1 for i in turns]
        device = self._tables.device
        first = placed([offsets[i] for i in turns], device)[:, None]
        wanted = (first + torch.arange(group.blocks, device=device)).minimum(placed(last, device)[:, None])
        rows_of_all: torch.Tensor = self._tables[wanted.reshape(-1)] * self.pool.shape.layers + self._layers
        return rows_of_all

    # Attention

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """Write the step's keys and values, and return what its queries attend to: ``[1, tokens, heads, head_dim]``.

        ``query``: ``[1, heads, tokens, head_dim]``; ``key`` and ``value`` likewise with ``kv_heads``.
        """
        written = torch.stack((key[0].transpose(0, 1), value[0].transpose(0, 1)), dim=1)
        self._token_rows.index_copy_(0, self._writes[layer], written.view(written.shape[0], -1))
        attended = []
        for group in self._groups:
            if group.decodes:
                attended.append(self._decode(group, layer, query, scale))
            else:
                span = slice(group.begin, group.end)
                own = query[:, :, span], key[:, :, span], value[:, :, span]
                attended.append(self._fill(group, layer, own, scale))
        return (attended[0] if len(attended) == 1 else torch.cat(attended)).unsqueeze(0)

    def _decode(self, group: _Group, layer: int, query: torch.Tensor, scale: float | None) -> torch.Tensor:
        """Attend for turns with one query each, taking the heads that share a key as so many queries."""
        shape, turns = self.pool.shape, group.end - group.begin
        if self._flex is not None and shape.windows[layer] is None:
            assert group.rows is not None
            span = slice(group.begin, group.end)
            each = query[0, :, span].transpose(0, 1)[:, :, None].contiguous()
            rows = group.rows[layer].view(turns, group.blocks)
            return self._flex.attend(each, rows, self.positions[span], scale)[:, :, 0]
        queries = query[0].transpose(0, 1)[group.begin : group.end].reshape(turns, shape.kv_heads, -1, shape.head_dim)
        keys, values = self._gather(group, layer, turns, group.longest + 1)
        mask = self._mask(group, shape.windows[layer])
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        return attended.reshape(turns, -1, shape.head_dim)

    def _fill(
        self, group: _Group, layer: int, own: tuple[torch.Tensor, torch.Tensor, torch.Tensor], scale: float | None
    ) -> torch.Tensor:
        """Attend for a piece of a prompt, given its own queries, keys and values; the first needs no others."""
        shape = self.pool.shape
        query, keys, values = own
        if group.longest:
            keys, values = self._gather(group, layer, 1, group.longest + group.end - group.begin)
        mask = self._mask(group, shape.windows[layer])
        attended = scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale,
            enable_gqa=query.shape[1] != shape.kv_heads,
        )  # fmt: skip
        return attended[0].transpose(0, 1)

    def _gather(self, group: _Group, layer: int, turns: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and the values of the group's turns, each ``[turns, kv_heads, tokens, head_dim]``."""
        shape = self.pool.shape
        assert group.rows is not None
        held = self._block_rows.index_select(0, group.rows[layer])
        held = held.view(turns, group.blocks * self._block_tokens, 2, shape.kv_heads, shape.head_dim)[:, :tokens]
        keys, values = held.transpose(1, 3).unbind(2)
        return keys, values

    def _mask(self, group: _Group, window: int | None) -> torch.Tensor | None:
        """Return what each query may attend to, ``[turns, 1, queries, tokens]``; ``None`` where no mask is needed."""
        key = (group.begin, window)
        if key not in self._masks:
            self._masks[key] = self._masked(group, window)
        return self._masks[key]

    def _masked(self, group: _Group, window: int | None) -> torch.Tensor | None:
        count = group.end - group.begin
        tokens = group.longest + (1 if group.decodes else count)
        if window is not None and tokens <= window:
            window = None
        if window is None and (group.same_length if group.decodes else not group.longest):
            return None
        at = self.positions[group.begin : group.end, None]
        others = torch.arange(tokens, device=at.device)
        seen: torch.Tensor = others <= at
        if window is not None:
            seen &= others > at - window
        return seen[:, None, None] if group.decodes else seen[None, None]


def _offsets(rows: Sequence[Row]) -> list[int]:
    offsets, blocks = [], 0
    for row in rows:
        offsets.append(blocks)
        blocks += len(row.table)
    return offsets


def _ends(rows: Sequence[Row]) -> list[int]:
    ends, tokens = [], 0
    for row in rows:
        tokens += row.tokens
        ends.append(tokens - 1)
    return ends
