"""Who is compared with whom: the published rivals, Astraea's own variants, and the marks that nobody can reach."""

from __future__ import annotations

from astraea.policy.limits import Limits
from astraea.rivals import make_policy, policy_names

__all__ = ["FAVOURED", "ORACLES", "OWN", "RIVALS", "STRONG_RIVALS", "contenders"]

OWN = ("astraea", "hrrn-turn", "job-fcfs-kept")
"""Astraea, and the two orders that run on its memory rules: those are nobody else's."""

ORACLES = ("srpt-oracle", "srpt-oracle-lru")
"""Told the whole future of a job: marks, not rivals."""

RIVALS = tuple(name for name in policy_names() if name not in OWN and name not in ORACLES)
"""Every other policy counts as published, variants of a system that were made here in its favour included."""

FAVOURED = tuple(name for name in RIVALS if make_policy(name, Limits(device_blocks=1)).clairvoyant)
"""Rivals that are told the true length of each turn, as their papers assume; they count all the same."""

STRONG_RIVALS = ("astraea-paper", "infercept", "mars", "continuum", "thunderagent", "thunderagent-undecayed")
"""Those that a sensitivity is shown beside: the paper's own, and the ones that come first where memory is short."""


def contenders() -> tuple[str, ...]:
    """Return all policies, Astraea first, the marks last."""
    return (OWN[0], *RIVALS, *OWN[1:], *ORACLES)
