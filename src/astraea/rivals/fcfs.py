"""Turns first-come-first-served with a least-recently-used prefix cache: what engines do by default.

Source: vLLM's default scheduling policy with automatic prefix caching (docs.vllm.ai). Assumptions: the first turn that
does not fit holds back all behind it; idle and waiting caches are reused where they still stand and evicted least
recently used first, tail blocks first; with a host pool, evicted caches are copied there where a copy back is cheaper
than a recomputation.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.limits import Limits
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Context, Job, Turn

__all__ = ["Fcfs", "Unlearned"]


class Unlearned(LearningPolicy):
    """A policy that predicts nothing and keeps caches least recently used first."""

    guarded = False
    blocking = Blocking.EVERYTHING

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.memory = LeastRecentlyUsed(limits)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return 1: the order does not look at sizes."""
        return 1

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn nothing."""

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Learn nothing."""

    def job_ended(self, job: Job) -> None:
        """Learn nothing."""


class Fcfs(Unlearned):
    """Order of the turns' arrival."""

    name = "fcfs"
    summary = "turns first-come-first-served, least-recently-used prefix cache (vLLM with automatic prefix caching)"
    source = "vLLM's default scheduler, https://docs.vllm.ai"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(_by_arrival)


def _by_arrival(_job: Job, _size: int, serial: int) -> tuple[int, ...]:
    return (serial,)
