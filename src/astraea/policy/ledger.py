"""Counts of KV blocks: who holds how many, on the device and on the host (INV-1, INV-3).

The ledger counts blocks; the executor knows their addresses. Every block is free, held by one holding, held by one
shared prefix, or quarantined with a holding whose report is overdue. All changes go through the few verbs below, so a
count that would fall under zero is caught where it happens. It also keeps the caches that may be evicted in the order
of their last use.
"""

from __future__ import annotations

from astraea.errors import InvariantError
from astraea.policy.limits import Limits
from astraea.policy.state import Cache, Context, Holding, Prefix

__all__ = ["Ledger"]


class Ledger:
    """The block counts of one engine."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.block_tokens = limits.block_tokens
        self.device_free = limits.device_blocks
        self.device_quarantined = 0
        self.host_free = limits.host_blocks
        self.caches: dict[int, Cache] = {}
        """Evictable caches by serial of last use; serials only grow, so this is the order of last use."""
        self.host_copies: dict[Holding, Context] = {}
        """Host copies that may be given up, least recently made or used first."""
        self._serial = 0

    @property
    def device_usable(self) -> int:
        """Device blocks that are not quarantined."""
        return self.limits.device_blocks - self.device_quarantined

    def private_blocks(self, holding: Holding, tokens: int) -> int:
        """Return how many private blocks hold the first ``tokens`` tokens, the shared prefix not counted."""
        blocks = -(-tokens // self.block_tokens)
        prefix = holding.prefix
        if prefix is not None:
            blocks -= prefix.blocks
            if blocks < 0:
                return 0
        return blocks

    def short_blocks(self, holding: Holding, tokens: int) -> int:
        """Return how many private blocks a holding lacks for its first ``tokens`` tokens."""
        prefix = holding.prefix
        short = -(-tokens // self.block_tokens) - holding.device_blocks - (prefix.blocks if prefix is not None else 0)
        return max(0, short)

    def spare_tokens(self, holding: Holding) -> int:
        """Return how many tokens more its blocks would hold, the shared prefix's among them."""
        blocks, prefix = holding.device_blocks, holding.prefix
        if prefix is not None:
            blocks += prefix.blocks
        return blocks * self.block_tokens - holding.device_tokens

    def grow(self, holding: Holding, tokens: int) -> None:
        """Give a holding the private blocks that it lacks for its first ``tokens`` tokens."""
        short = self.short_blocks(holding, tokens)
        if short:
            self.resize(holding, holding.device_blocks + short)

    def resize(self, holding: Holding, blocks: int) -> int:
        """Give a holding exactly ``blocks`` private device blocks; return how many became free (negative: taken)."""
        freed = holding.device_blocks - blocks
        if not freed:
            return 0
        self._move_device(freed)
        prefix = holding.prefix
        if prefix is not None:
            prefix.dependents += (blocks > 0) - (holding.device_blocks > 0)
            holding.device_blocks = blocks
            self.settle_prefix(prefix)
        holding.device_blocks = blocks
        return freed

    def resize_prefix(self, prefix: Prefix, tokens: int) -> int:
        """Let a prefix hold exactly the blocks of its first ``tokens`` tokens; return how many became free."""
        blocks = tokens // self.block_tokens if tokens < prefix.tokens else prefix.blocks
        freed = prefix.device_blocks - blocks
        self._move_device(freed)
        prefix.device_blocks = blocks
        return freed

    def resize_host(self, holding: Holding, blocks: int) -> int:
        """Give a holding exactly ``blocks`` host blocks; return how many became free."""
        freed = holding.host_blocks - blocks
        self.host_free += freed
        if self.host_free < 0:
            raise InvariantError("INV-1", f"{-self.host_free} host blocks more than free were taken")
        holding.host_blocks = blocks
        return freed

    def host_room(self, spared: Holding | None = None) -> tuple[int, int]:
        """Return the host blocks that a new copy may take: without any loss, and with the loss of older copies.

        A copy of what is also resident on the device is no loss; the copy of ``spared`` is not given up at all.
        """
        free = everything = self.host_free
        for holding in self.host_copies:
            if holding is not spared:
                everything += holding.host_blocks
                if holding.device_tokens >= holding.host_tokens:
                    free += holding.host_blocks
        return free, everything

    def quarantine(self, blocks: int) -> None:
        """Set held device blocks apart until a report comes (negative: it came)."""
        self.device_quarantined += blocks

    def settle_prefix(self, prefix: Prefix) -> None:
        """Park a prefix that nothing needs any more, or take it out of the evictable caches."""
        if prefix.holders or prefix.dependents or not prefix.device_blocks:
            self.unpark(prefix)
        elif not prefix.cache_serial:
            self.park(prefix)

    def park(self, cache: Cache) -> None:
        """Make a cache evictable, as the most recently used."""
        self.unpark(cache)
        self._serial += 1
        cache.cache_serial = self._serial
        self.caches[self._serial] = cache

    def unpark(self, cache: Cache) -> None:
        """Make a cache not evictable: it runs, is being copied, is needed, or holds nothing."""
        if cache.cache_serial:
            del self.caches[cache.cache_serial]
            cache.cache_serial = 0

    def active_contexts(self) -> int:
        """Return how many parked contexts of live jobs hold device blocks: with the running ones, those that grow."""
        return sum(1 for cache in self.caches.values() if isinstance(cache, Context) and cache.job is not None)

    def next_judgement_us(self, now_us: int) -> int | None:
        """Return when the next kept cache stops being kept, or ``None`` where none is."""
        times = [
            cache.keep_until_us
            for cache in self.caches.values()
            if isinstance(cache, Context) and cache.turn is None and cache.keep_until_us > now_us
        ]
        return min(times, default=None)

    def _move_device(self, freed: int) -> None:
        self.device_free += freed
        if self.device_free < 0:
            raise InvariantError("INV-1", f"{-self.device_free} device blocks more than free were taken")
