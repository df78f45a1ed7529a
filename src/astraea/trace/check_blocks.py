"""Block counts of the checker's own, for contexts and shared prefixes: at no line may the pools be exceeded (INV-1)."""

from __future__ import annotations

from astraea.policy.limits import Limits
from astraea.trace.check_records import Context, Holding, Prefix, Turn, broken

__all__ = ["Blocks"]


class Blocks:
    """Counts the blocks of one run."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.device_used = 0
        self.host_used = 0
        self.quarantined = 0
        self.device_peak = 0
        self.host_peak = 0
        self.prefixes: dict[tuple[str, str], Prefix] = {}
        self.closing: list[Holding] = []
        """Holdings of closed sessions whose ``DropCache`` is still to come."""

    @property
    def usable(self) -> int:
        """Device blocks that are not quarantined."""
        return self.limits.device_blocks - self.quarantined

    @property
    def free(self) -> int:
        """Device blocks that nobody holds."""
        return self.limits.device_blocks - self.device_used

    def private(self, holding: Holding, tokens: int) -> int:
        """Return the private blocks that the first ``tokens`` tokens of a context fill."""
        shared = holding.prefix.blocks if holding.prefix is not None else 0
        return max(0, self.limits.blocks_for(tokens) - shared)

    def resize(self, holding: Holding, blocks: int) -> None:
        """Let a holding have exactly so many private device blocks."""
        self._take(blocks - holding.device_blocks)
        holding.device_blocks = blocks

    def resize_host(self, holding: Holding, blocks: int) -> None:
        """Let a holding have exactly so many host blocks."""
        self.host_used += blocks - holding.host_blocks
        holding.host_blocks = blocks
        self.host_peak = max(self.host_peak, self.host_used)
        if self.host_used > self.limits.host_blocks:
            broken("INV-1", f"{self.host_used} host blocks are held of {self.limits.host_blocks} ({holding.name})")

    def resize_prefix(self, prefix: Prefix, tokens: int) -> None:
        """Let a prefix have exactly the blocks of its first ``tokens`` tokens."""
        blocks = min(prefix.blocks, tokens // self.limits.block_tokens)
        self._take(blocks - prefix.device_blocks)
        prefix.device_blocks = blocks

    def _take(self, blocks: int) -> None:
        self.device_used += blocks
        self.device_peak = max(self.device_peak, self.device_used)
        if self.device_used > self.limits.device_blocks:
            broken("INV-1", f"{self.device_used} device blocks are held of {self.limits.device_blocks}")

    # Shared prefixes

    def name_prefix(self, context: Context, prefix_id: str, tokens: int) -> None:
        """Let a context begin with the whole blocks of a shared prefix, unless its prompt is shorter than that."""
        blocks = tokens // self.limits.block_tokens
        if not blocks:
            return
        key = (context.tenant, prefix_id)
        prefix = self.prefixes.get(key)
        if prefix is None:
            prefix = self.prefixes[key] = Prefix(*key, blocks * self.limits.block_tokens, blocks)
        elif prefix.blocks > blocks:
            return
        prefix.users[context] = None
        context.holding.prefix = prefix

    def hold_prefix(self, holding: Holding, filler: Turn | None) -> bool:
        """Pin a holding's prefix; say whether ``filler`` is to fill it."""
        prefix = holding.prefix
        if prefix is None:
            return False
        prefix.holders += 1
        if prefix.ready_tokens == prefix.tokens:
            return False
        if prefix.filler is not None:
            broken("INV-3", f"prefix {prefix.prefix_id!r} is filled by two turns at once")
        prefix.filler = filler
        self.resize_prefix(prefix, prefix.tokens)
        return True

    def let_go(self, prefix: Prefix | None, filler: Turn | None, *, trusted: bool) -> None:
        """Unpin a prefix; of an unfinished filling whole blocks stay, or nothing."""
        if prefix is None:
            return
        prefix.holders -= 1
        if prefix.replaced:
            if not prefix.holders:
                self.quarantined -= prefix.device_blocks
                self.resize_prefix(prefix, 0)
            return
        if filler is not None and prefix.filler is filler:
            prefix.filler = None
            size = self.limits.block_tokens
            prefix.ready_tokens = prefix.ready_tokens // size * size if trusted else 0
            self.resize_prefix(prefix, prefix.ready_tokens)
        self.forget_if_unused(prefix)

    def forget_if_unused(self, prefix: Prefix | None) -> None:
        """Forget a prefix that nobody names and that holds nothing."""
        if prefix is not None and not (prefix.users or prefix.device_blocks or prefix.holders):
            self.prefixes.pop((prefix.tenant, prefix.prefix_id), None)

    def forsake_prefix(self, context: Context) -> None:
        """Let a context do without its shared prefix."""
        prefix = context.holding.prefix
        if prefix is not None:
            prefix.users.pop(context, None)
            self.forget_if_unused(prefix)

    def replace(self, old: Prefix) -> None:
        """Quarantine a prefix whose filling is overdue and let its contexts begin anew with an empty one."""
        del self.prefixes[old.tenant, old.prefix_id]
        users, old.users = old.users, {}
        for context in users:
            context.holding.prefix = None
            self.name_prefix(context, old.prefix_id, old.tokens)
        old.replaced, old.filler = True, None
        self.quarantined += old.device_blocks
