"""Which caches to keep under memory pressure, and for whom to give them up: two answers to the same questions.

In a full pool a cache that is lost between two calls is computed again, and under pressure that becomes most of the
prefill work (``recomputed_share`` of a simulation shows it). :class:`KeepByReuse` is
Astraea's. :class:`LeastRecentlyUsed` is what engines with a prefix cache do.

*Keeping over a tool wait.* To keep C tokens for a time costs what the pool could do meanwhile; to lose them costs
their recomputation. The wait at which the two are even is the time to refill the whole pool at the cost of this cache,
``T = T_prefill(C) * capacity / C``; a cache is kept while the expected rest of its wait is below 3.5 T. With room on
the host the loss is a copy, and T is the copy's time if that is less. The rest is judged again as the wait lasts
(a tool that has not returned in a minute will take long), and nothing is kept beyond the longest wait seen.
"""

from __future__ import annotations

from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.state import Context, Turn

__all__ = ["KeepByReuse", "LeastRecentlyUsed"]


class _SwapIfCheaper:
    """Swaps where a copy is cheaper than a recomputation."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def swaps(self, tokens: int, start_tokens: int) -> bool:
        """Say whether copying ``tokens`` tokens back costs less than computing them again."""
        costs = self._limits.costs
        return costs.swap_ns_per_token * tokens < costs.prefill_ns(start_tokens, tokens)


class LeastRecentlyUsed(_SwapIfCheaper):
    """Keeps nothing on purpose: whatever was used last stays, whoever needs the room."""

    headroom_blocks_max = 0

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return ``now_us``: not kept."""
        return now_us

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say yes: a waiting turn's cache is as evictable as any."""
        return True

    def headroom_blocks(self, active_contexts: int) -> int:
        """Return 0."""
        return 0


class KeepByReuse(_SwapIfCheaper):
    """Keeps a cache whose reuse is near, protects ready caches, and leaves room for growth."""

    def __init__(self, limits: Limits, predictor: Predictor) -> None:
        super().__init__(limits)
        self._predictor = predictor
        self.headroom_blocks_max = limits.device_blocks * limits.tuning.growth_cap_permille // 1000

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return until when the expected rest of the tool wait stays below 3.5 refill times."""
        threshold_us = self._limits.tuning.keep_tenths * self._refill_us(context, ledger) // 10
        history = self._predictor.waits(context.waits_for)
        if history is None:
            prior_us = self._limits.tuning.prior_tool_wait_us
            return now_us + prior_us if prior_us < threshold_us else now_us
        for elapsed_us, rest_us in history.rests_us():
            if rest_us >= threshold_us:
                return now_us + elapsed_us
        return now_us + history.longest_us + 1

    def _refill_us(self, context: Context, ledger: Ledger) -> int:
        """Time to refill the pool at the cost of this cache, or to copy the cache where the host has room."""
        tokens = context.holding.device_tokens
        if not tokens:
            return 0
        costs = self._limits.costs
        refill_us = costs.prefill_ns(0, tokens) * self._limits.device_tokens // tokens // 1000
        if not self._limits.host_blocks:
            return refill_us
        missing = self._limits.blocks_for(tokens) - context.holding.host_blocks
        room, _ = ledger.host_room(context.holding)
        return min(refill_us, costs.swap_ns_per_token * tokens // 1000) if missing <= room else refill_us

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say whether a better-ranked turn may: one that is resident itself, or any where it is a swap and no loss."""
        if not ranks_before:
            return False
        held = turn.context.holding.device_tokens
        return lossless or (held > 0 and 2 * held > turn.prompt_tokens - turn.new_tokens)

    def headroom_blocks(self, active_contexts: int) -> int:
        """Return half of the growth per turn of the active contexts, at most 30 % of the pool."""
        growth = self._limits.blocks_for(self._predictor.growth_tokens() * active_contexts)
        return min(growth * self._limits.tuning.growth_permille // 1000, self.headroom_blocks_max)
