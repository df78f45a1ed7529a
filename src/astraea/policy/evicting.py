"""Carrying evictions out: the plan of a turn that needs room, and the drops that let running turns grow.

What may be taken is settled before: by ``safety.py`` for a turn, by rule 4 for growth. Here each cache is dropped or
copied out, the host gives up older copies for newer ones, and waiting turns whose residency changed are ranked anew.
"""

from __future__ import annotations

from astraea.decisions import Because, Reason
from astraea.policy.copies import Copies
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.safety import Eviction
from astraea.policy.state import Cache, Context, Prefix, Turn
from astraea.policy.waiting import Waiting

__all__ = ["Evicting"]


class Evicting:
    """Takes caches away."""

    def __init__(self, limits: Limits, kv: KvCaches, copies: Copies, waiting: Waiting) -> None:
        self._limits = limits
        self._kv = kv
        self._ledger = kv.ledger
        self._copies = copies
        self._waiting = waiting

    def for_turn(self, plan: list[Eviction], turn: Turn, because: Because, now_us: int) -> None:
        """Carry out a turn's plan: drops free their blocks at once, copies when they are reported."""
        for eviction in plan:
            cache = eviction.cache
            if eviction.copies and isinstance(cache, Context) and self._host_takes(cache, turn, now_us):
                self._copies.begin_out(cache, eviction.blocks, because)
                self._rank_anew(cache, now_us)
            else:
                self._drop(cache, eviction.blocks, because, now_us)

    def for_growth(self, free_blocks: int, because: Because, now_us: int) -> None:
        """Drop cache tails until so many blocks are free: those that nobody waits for first, then any (rule 4)."""
        ledger = self._ledger
        # A prefix may go only once nothing depends on it, so the list is made anew until it is empty.
        while ledger.caches and free_blocks > ledger.device_free:
            caches = sorted(ledger.caches.values(), key=lambda cache: _protected(cache, now_us))
            for cache in caches:
                short = free_blocks - ledger.device_free
                if short <= 0:
                    return
                self._drop(cache, short, because, now_us)

    def _drop(self, cache: Cache, blocks: int, because: Because, now_us: int) -> None:
        if isinstance(cache, Prefix):
            self._kv.prefixes.cut(cache, blocks, because)
        else:
            self._kv.cut_tail(cache, blocks, because)
            self._rank_anew(cache, now_us)

    def _rank_anew(self, context: Context, now_us: int) -> None:
        if context.turn is not None:
            self._waiting.returned.pop(context.turn.serial, None)
            self._waiting.renew(context.turn, now_us)

    def _host_takes(self, context: Context, turn: Turn, now_us: int) -> bool:
        """Give up host copies for a new one, duplicates first, then least recently used; return whether it fits."""
        ledger, holding = self._ledger, context.holding
        missing = self._limits.blocks_for(holding.device_tokens) - holding.host_blocks
        spared = (holding, turn.context.holding)
        older = [other for copy, other in ledger.host_copies.items() if copy not in spared]
        older.sort(key=lambda other: other.holding.device_tokens < other.holding.host_tokens)
        for other in older:
            if ledger.host_free >= missing:
                break
            self._kv.cut_host(other, 0, Because(Reason.HOST_ROOM, (("missing_blocks", missing),)))
            self._rank_anew(other, now_us)
        return ledger.host_free >= missing


def _protected(cache: Cache, now_us: int) -> bool:
    """Return whether a waiting turn needs the cache, or it is kept over a tool wait."""
    if isinstance(cache, Prefix) or cache.job is None:
        return False
    return cache.turn is not None or now_us < cache.keep_until_us
