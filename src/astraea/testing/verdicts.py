"""Why a claim cannot be judged for a scheduler: nothing is passed in silence."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from astraea.testing.adapter import Adapter
from astraea.testing.claims import CALLS
from astraea.testing.profiles import Profile

__all__ = ["why_not_judged"]


def why_not_judged(
    claim: str, adapter: Adapter, profile: Profile, occasions: Mapping[str, int], broken: Collection[str]
) -> str:
    """Return the reason, or nothing where the claim was judged. ``occasions``: how often it could have been broken."""
    bound, longest = adapter.bypass_bound, profile.comers << 2
    if claim in {"INV-1", "INV-5"} and adapter.pool_blocks is None:
        return "the adapter has no pool of blocks"
    if claim == "INV-1" and not occasions[claim]:
        return "no view told free and held blocks"
    if claim == "LIVE-1" and bound is not None and 2 * bound > longest:
        return f"no siege has twice as many others as the bound of {bound}; declare one of {longest // 2} or less"
    if claim == "INV-9" and "INV-7" in broken:
        return "it is not deterministic, so that another answer shows nothing"
    if CALLS in broken and not occasions[claim]:
        return "the scheduler raised before it could be judged"
    if not occasions[claim]:
        return "the search came to no occasion on which it could have been broken"
    return ""
