"""The attention function that ``transformers`` calls in every layer, and the model with its pool behind it.

With a ragged batch among the call's arguments it attends over the pool; without one it is the library's own SDPA, so
that the same model still answers ``generate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from astraea.executor.blocks import BlockPool
from astraea.executor.families import kv_shape
from astraea.executor.flex import FlexDecoding
from astraea.executor.ragged import RaggedBatch, Row

__all__ = ["IMPLEMENTATION", "PagedModel", "paged_attention"]

IMPLEMENTATION = "astraea_paged"


def paged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    paged: RaggedBatch | None = None,
    **options: Any,  # noqa: ANN401 - the library's own, passed on as they are
) -> tuple[torch.Tensor, None]:
    """Attend over the pool where a ragged batch is given, else as SDPA does; the shapes are the library's."""
    if paged is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return paged.attend(cast("int", module.layer_idx), query, key, value, options.get("scaling")), None


AttentionInterface.register(IMPLEMENTATION, paged_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


class PagedModel:
    """A decoder whose KV stands in a pool of blocks."""

    def __init__(self, model: PreTrainedModel, blocks: int, block_tokens: int, *, flex: bool = False) -> None:
        """With ``flex`` decoding turns attend by compiled FlexAttention, else over gathered blocks by SDPA.

        Raises :class:`UnsupportedModelError` for a family that is not known, and :class:`UsageError` where the pool
        finds no room or nothing can be compiled.
        """
        shape = kv_shape(model)
        model.set_attn_implementation(IMPLEMENTATION)
        self.model = model
        self.pool = BlockPool(shape, blocks, block_tokens)
        self._flex: FlexDecoding | None = None
        if flex:
            scale = next(part.scaling for part in model.modules() if hasattr(part, "scaling"))
            self._flex = FlexDecoding(self.pool, model.config.num_attention_heads, cast("float", scale))
        # Any mask of four dimensions keeps the model from making one of its own, which nobody would read.
        self._no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=shape.device)

    def batch(self, rows: Sequence[Row]) -> RaggedBatch:
        """Return a batch of these rows over the model's pool."""
        return RaggedBatch(self.pool, rows, self._flex)

    @torch.inference_mode()
    def forward(self, batch: RaggedBatch, tokens: torch.Tensor, sampling: torch.Tensor) -> torch.Tensor:
        """Compute one step: the KV of ``tokens`` is in the pool afterwards.

        ``tokens``: ids in the batch's order. Returns the logits at the indices ``sampling``, ``[count, vocabulary]``.
        """
        answer = self.model(
            input_ids=tokens[None],
            attention_mask=self._no_mask,
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=sampling,
            paged=batch,
        )
        logits: torch.Tensor = answer.logits[0]
        return logits
