"""Integer arithmetic that every floor shares: microseconds, tokens and KV blocks.

Nothing here is a float. A quantity's unit stands in its name (``wait_us``, ``context_tokens``, ``kv_blocks``).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

__all__ = ["US_PER_S", "blocks_for", "ceil_div", "us_from_seconds"]

US_PER_S = 1_000_000


def ceil_div(numerator: int, denominator: int) -> int:
    """Return ``numerator / denominator`` rounded up; the denominator is positive."""
    return -(-numerator // denominator)


def blocks_for(tokens: int, block_tokens: int) -> int:
    """Return how many KV blocks of ``block_tokens`` tokens hold ``tokens`` tokens."""
    return -(-tokens // block_tokens)


def us_from_seconds(seconds: str | int | float | Decimal) -> int:
    """Return decimal seconds, as files and flags give them, in microseconds (rounded half-even).

    A float is read by its shortest decimal form, so ``0.1`` is 100,000 microseconds exactly.
    """
    scaled = Decimal(str(seconds)) * US_PER_S
    return int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN))
