"""Textbook highest response ratio next, per turn: the order whose starvation the guard is there to cure.

The ratio of a turn is ``(w + s) / s``: w its own wait, s its predicted service (prefill of what is missing and the
expected decode). Source: Brinch Hansen 1971; per request in SGLang (pull request 32911). A long turn starves once the
load of short ones exceeds ``1 / (1 - s_short / s_long)``. Memory rules are Astraea's, so that only the order differs.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.classification import classify
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Job, Turn
from astraea.rivals.service import decode_ns, prefill_ns

__all__ = ["HrrnTurn", "scaled_ratio"]

_EXACT_BITS = 80
"""Two ratios of integers below 2^40 differ by at least 2^-80: scaled so, rounding down keeps their order."""


def scaled_ratio(wait_us: int, service_us: int) -> int:
    """Return ``wait / service`` scaled so that the order of ratios is exact."""
    return (wait_us << _EXACT_BITS) // service_us


class HrrnTurn(LearningPolicy):
    """Highest response ratio of the turn next."""

    name = "hrrn-turn"
    summary = "textbook highest-response-ratio-next per turn; unguarded, it starves long turns under overload"
    source = "Brinch Hansen 1971; SGLang pull request 32911"
    guarded = False
    blocking = Blocking.STARTS

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._ready_us: dict[int, int] = {}
        self.queue = ScanQueue(self._key)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the predicted service of this turn in microseconds."""
        self._ready_us.setdefault(turn.serial, now_us)
        costs = self.limits.costs
        output = self.predictor.output_tokens(classify(turn.job.level), turn.context.last_tool)
        return max(1, (prefill_ns(costs, turn, resident_tokens, host_tokens) + decode_ns(costs, output)) // 1000)

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn, and forget when the turn became ready."""
        super().turn_ended(turn, tool, to_tool=to_tool)
        self._ready_us.pop(turn.serial, None)

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        wait_us = now_us - self._ready_us.get(serial, now_us)
        return (-scaled_ratio(wait_us, size), job.arrival, serial)
