"""Shortest remaining job first with knowledge of the future: marks that nobody can reach, only approach.

The key is the true engine time that the job still needs (the quantity that Astraea predicts, computed from what will
happen) plus the prefill of what is missing now; SRPT is optimal for mean completion time on a single machine with known
sizes. ``srpt-oracle`` uses Astraea's memory rules, ``srpt-oracle-lru`` a plain prefix cache.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.limits import Limits
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Job, Turn

__all__ = ["SrptOracle", "SrptOracleLru"]


def _by_size(job: Job, size: int, serial: int) -> tuple[int, ...]:
    return (size, job.arrival, serial)


class SrptOracle(LearningPolicy):
    """True shortest remaining service first, Astraea's memory rules."""

    name = "srpt-oracle"
    summary = "clairvoyant mark, unattainable: true shortest remaining job first under astraea's memory rules"
    source = "Schrage 1968 for the order; docs/design.md section 7 for the memory rules"
    guarded = False
    clairvoyant = True

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(_by_size)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the true remaining service in microseconds, missing prefill included; 1 without an oracle."""
        oracle = turn.hints.oracle
        goal = turn.goal_tokens
        held = max(resident_tokens, min(host_tokens, goal - 1))
        missing_us = self.limits.costs.prefill_ns(held, max(1, goal - held)) // 1000
        return max(1, missing_us + (oracle.remaining_service_us if oracle is not None else 0))


class SrptOracleLru(SrptOracle):
    """True shortest remaining service first, plain prefix cache."""

    name = "srpt-oracle-lru"
    summary = "clairvoyant mark, unattainable: the same order with a least-recently-used prefix cache"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.memory = LeastRecentlyUsed(limits)
