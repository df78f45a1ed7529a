"""Highest response ratio next per request, as SGLang merged it.

Source: SGLang pull request 32911 (merged July 2026), policy ``hrrn``. A waiting request's ratio is ``(W + S) / S`` with
W its own time in the queue and S its *uncached input length*; the order is that of ``W / S``, so the unit of S plays no
part. The ratio is taken anew at every scheduling pass.

Assumptions: what the engine does around its order is SGLang's default: a radix cache, here a least-recently-used
prefix cache from which anything that does not run may go; and the first request that does not fit ends the pass. A
prompt that can be copied back from the host counts as cached. A preempted request waits anew. Two things follow from
the published form and are left as they are: the decode is not in S, and W begins again with every turn of a job.
Nothing is approximated by the protocol here.
"""

from __future__ import annotations

from astraea.policy.limits import Limits
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Job, Turn
from astraea.rivals.fcfs import Unlearned
from astraea.rivals.hrrn_turn import scaled_ratio
from astraea.rivals.service import ReadyTimes, held_tokens

__all__ = ["Hrrn"]


class Hrrn(Unlearned):
    """Highest wait over uncached input first."""

    name = "hrrn"
    summary = "highest response ratio next per turn, service taken as the uncached input (SGLang)"
    source = "SGLang pull request 32911, https://github.com/sgl-project/sglang/pull/32911"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._ready = ReadyTimes()
        self.queue = ScanQueue(self._key)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the uncached input in tokens, at least 1."""
        self._ready.note(turn, now_us)
        return max(1, turn.goal_tokens - held_tokens(turn, resident_tokens, host_tokens))

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        return (-scaled_ratio(self._ready.wait_us(job, serial, now_us), size), serial)
