"""Skip-join multi-level feedback queue per request (FastServe).

Source: FastServe (arXiv 2305.05920; NSDI'26) and its code. Queue k has the quantum ``q_0 2^k``. A request joins the
first queue whose quantum covers its *first* iteration, the prefill, which is known from the input length; higher queues
are skipped. One that has used up its quantum goes one queue down. Queues have strict priority and are
first-come-first-served within. *Starvation*: a request that has not run for a time is promoted to the front of the
first queue. Lower priorities are swapped out for higher ones.

Assumptions: ``q_0`` 10 ms and ratio 2 are the constants of the authors' artifact, which calls them untuned. Its
starvation time is 3 s, looked for every 1,000 iterations; under the loads of agents nearly every turn waits longer, and
the policy would be first-come-first-served. Here it is 300 s, looked for at every pass, which favours it. The request
is a turn, for FastServe knows no programs. It has no prefix cache either; here it is given one, and the prefill that
counts is that of what is missing, which favours it.

Approximated: FastServe preempts *running* requests after every token; here a dispatched turn runs to its end, and what
it used of its quanta counts only where it was preempted for memory. That hurts where outputs are much longer than an
agent's. Its proactive swapping is not planned; copies are made on demand, and do not hold up those that run.
"""

from __future__ import annotations

from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Job, Turn
from astraea.rivals.fcfs import Unlearned
from astraea.rivals.service import ByRank, ReadyTimes, decode_ns, prefill_ns

__all__ = ["QUANTUM_US", "STARVATION_US", "Mlfq", "queue_of"]

QUANTUM_US = 10_000
STARVATION_US = 300_000_000


def queue_of(prefill: int, used: int) -> int:
    """Return the queue of a turn that needs ``prefill`` microseconds at first and has used up ``used`` since then."""
    queue = max(0, -(-prefill // QUANTUM_US) - 1).bit_length()
    while used > (quantum := QUANTUM_US << queue):
        used -= quantum
        queue += 1
    return queue


class Mlfq(Unlearned):
    """Skip-join multi-level feedback queue."""

    name = "mlfq"
    summary = "skip-join multi-level feedback queue per turn (FastServe)"
    source = "arXiv 2305.05920"
    blocking = Blocking.EVERYTHING

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._ready = ReadyTimes()
        self.memory = ByRank(limits)
        self.queue = ScanQueue(self._key)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return 1 more than the number of the turn's queue."""
        self._ready.note(turn, now_us)
        costs = self.limits.costs
        missing_us = prefill_ns(costs, turn, resident_tokens, host_tokens) // 1000
        return 1 + queue_of(missing_us, decode_ns(costs, turn.sampled) // 1000)

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        wait_us = self._ready.wait_us(job, serial, now_us)
        if wait_us >= STARVATION_US:
            return (0, -wait_us, serial)
        return (size, 0, serial)
