"""How far an examination goes."""

from __future__ import annotations

from attrs import frozen

__all__ = ["CI", "NIGHT", "Profile"]


@frozen(slots=True, kw_only=True)
class Profile:
    """How many runs of each kind, and how long the sieges."""

    name: str
    streams: int
    """Streams that Hypothesis draws for each round of the search; there is one round more than broken claims."""
    moves_max: int
    """Moves in one stream."""
    shrinks: int
    """Runs that one broken claim may cost until its story is short."""
    walks: int
    """Seeded walks; they are repeated here and in another process for INV-7."""
    comers: int
    """Others in the shortest siege; the longest has four times as many (LIVE-1)."""
    seed: int | None = 0
    """Where the search starts; ``None`` starts elsewhere each time."""


CI = Profile(name="ci", streams=120, moves_max=25, shrinks=150, walks=40, comers=24)
"""Seconds, and the same each time."""
NIGHT = Profile(name="night", streams=5_000, moves_max=60, shrinks=3_000, walks=300, comers=200, seed=None)
"""As long as it takes, and elsewhere each time."""
