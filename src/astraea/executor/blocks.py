"""The device pool: KV blocks by address. The scheduler counts blocks; here each has a place.

The pool is block-major: ``[blocks, layers, block_tokens, 2, kv_heads, head_dim]``, keys before values. So one block of
all layers is one piece of memory, which one copy moves; and a layer's part of many blocks, gathered, reads as
``[tokens, 2, kv_heads, head_dim]`` without another copy.

Attention reads whole blocks and masks what lies beyond a turn's tokens. A masked NaN would still spread, so what
stands in a free block is always finite: a block that was written by something untrusted is cleared when it is freed.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from astraea.errors import InvariantError, UsageError
from astraea.executor.families import KvShape

__all__ = ["BlockPool"]


class BlockPool:
    """Blocks of one tensor, free or taken."""

    def __init__(self, shape: KvShape, blocks: int, block_tokens: int, *, pinned: bool = False) -> None:
        """Make a pool on the model's device, or a ``pinned`` one in the host's memory.

        Raises :class:`UsageError` where the memory is not there.
        """
        self.shape = shape
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.block_bytes = shape.token_bytes * block_tokens
        size = (blocks, shape.layers, block_tokens, 2, shape.kv_heads, shape.head_dim)
        device = torch.device("cpu") if pinned else shape.device
        try:
            self.tensor = torch.zeros(size, dtype=shape.dtype, device=device, pin_memory=pinned and _pins(shape.device))
        except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU allocator raises no narrower one
            gib = blocks * self.block_bytes / 2**30
            raise UsageError(f"a KV pool of {blocks} blocks takes {gib:.2f} GiB on {device}: {error}") from error
        self._free = list(range(blocks - 1, -1, -1))

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody has."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Return the addresses of ``count`` free blocks, which are the caller's now (INV-1)."""
        if count <= 0:
            return []
        if count > len(self._free):
            raise InvariantError("INV-1", f"{count} blocks are wanted and {len(self._free)} are free")
        taken = self._free[-count:]
        del self._free[-count:]
        return taken

    def give_back(self, blocks: Iterable[int], *, trusted: bool = True) -> None:
        """Free blocks; what an untrusted writer may have left in them is cleared."""
        freed = list(blocks)
        if not trusted and freed:
            self.tensor[freed] = 0
        self._free.extend(freed)

    def token_rows(self) -> torch.Tensor:
        """Return the pool as ``[blocks * layers * block_tokens, 2 * kv_heads * head_dim]``: a row a token and layer."""
        return self.tensor.view(self.blocks * self.shape.layers * self.block_tokens, -1)

    def block_rows(self) -> torch.Tensor:
        """Return the pool as ``[blocks * layers, block_tokens * 2 * kv_heads * head_dim]``: a row a block and layer."""
        return self.tensor.view(self.blocks * self.shape.layers, -1)


def _pins(device: torch.device) -> bool:
    return device.type == "cuda"
