"""The turns in the batch, in order of dispatch, and what each tenant's hold where tenants are capped."""

from __future__ import annotations

from astraea.policy.limits import Limits
from astraea.policy.state import Turn

__all__ = ["Running"]


class Running:
    """The running turns of one scheduler."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cap = limits.tenant_kv_blocks_max
        self.capped = self._cap is not None
        """Whether tenants have a cap at all."""
        self.turns: dict[int, Turn] = {}
        """By serial, in order of dispatch."""
        self._tenant_blocks: dict[str, int] = {}
        """Blocks that each tenant's running turns may come to hold; only kept where there is a cap."""

    def __len__(self) -> int:
        return len(self.turns)

    def over_tenant_cap(self, turn: Turn) -> bool:
        """Return whether the turn's tenant could come to hold more than its cap with it; only asked where capped."""
        assert self._cap is not None
        held = self._tenant_blocks.get(turn.job.tenant, 0)
        return held + self._limits.blocks_for(turn.max_tokens) > self._cap

    def add(self, turn: Turn) -> None:
        """Put a dispatched turn into the batch."""
        self.turns[turn.serial] = turn
        if self._cap is not None:
            tenant = turn.job.tenant
            blocks = self._limits.blocks_for(turn.max_tokens)
            self._tenant_blocks[tenant] = self._tenant_blocks.get(tenant, 0) + blocks

    def remove(self, turn: Turn) -> None:
        """Take a turn out of the batch."""
        del self.turns[turn.serial]
        if self._cap is not None:
            tenant = turn.job.tenant
            left = self._tenant_blocks[tenant] - self._limits.blocks_for(turn.max_tokens)
            if left:
                self._tenant_blocks[tenant] = left
            else:
                del self._tenant_blocks[tenant]
