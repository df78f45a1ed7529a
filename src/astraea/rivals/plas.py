"""Program-level least attained service, with the promotion by response ratio (Autellix).

Source: Autellix (arXiv 2502.13965; NSDI'26 as Agentix). A call's priority is the service that its program
has attained by completed calls, ``p(c_j) = sum of t_k over earlier calls`` (PLAS); with parallel calls it is that of
the longest path so far, ``max over parents of p(c_k) + t_k``, kept as one number a program (ATLAS). For a chain of
calls the two are the same, so one number serves both. Calls enter the one of K queues whose range holds their
program's service; the queues have strict priority and are first-come-first-served within. *Anti-starvation*: a call
whose program has ``(W_p + W_c) / (T_p + T_c) >= beta`` is promoted to the first queue, W being time spent waiting and
T service, of the program (p) and the present call (c).

Assumptions: beta, K and the queues' ranges are not in the text; beta is 10, as for the paper's own ageing ratio here,
and the ranges double from 100 ms to an hour. t_k is the engine time of the call alone on the engine, what was
missing of its prompt included; Autellix measures the time that the call ran, in which its neighbours' steps are
mixed. A call that is promoted stays so for as long as its ratio holds. The cache is a prefix cache, with copies to the
host where there is one, and a waiting call's KV goes only for calls that rank before it: as published, where lower
priorities are swapped out for higher ones. A start that does not fit holds back later starts and no continuation; the
text does not say, and this serves it best.

Approximated: Autellix demotes a *running* call at its quantum and preempts it for a better one; here a call that was
dispatched runs to its end, and demotion meets only calls that were preempted for memory. That hurts where outputs are
much longer than an agent's, and favours in that a call never pays for a switch.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Job, Turn
from astraea.rivals.fcfs import Unlearned
from astraea.rivals.service import ByRank, decode_ns, prefill_ns

__all__ = ["BETA", "FIRST_RANGE_US", "QUEUES", "Plas"]

BETA = 10
FIRST_RANGE_US = 100_000
"""The first queue is for programs below this service; each further one ranges to twice as much."""
QUEUES = 16


class Plas(Unlearned):
    """Least attained service of the program first."""

    name = "plas"
    summary = "program-level least attained service in queues, promotion by response ratio (Autellix)"
    source = "arXiv 2502.13965"
    blocking = Blocking.STARTS

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._attained: WeakKeyDictionary[Job, int] = WeakKeyDictionary()
        """Service in microseconds of each program's longest path of completed calls."""
        self._entered: WeakKeyDictionary[Turn, int] = WeakKeyDictionary()
        """What its program had attained when a call came."""
        self._prefills: WeakKeyDictionary[Turn, dict[int, int]] = WeakKeyDictionary()
        """Microseconds of prefill before each of a call's dispatches, by its preemptions until then."""
        self.memory = ByRank(limits)
        self.queue = ScanQueue(self._key)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return 1 more than the service in microseconds that counts for the call: its program's and its own so far."""
        entered = self._entered.setdefault(turn, self._attained.get(turn.job, 0))
        prefills = self._prefills.setdefault(turn, {})
        prefills.pop(turn.preemptions, None)
        own_us = self._service_us(turn)
        prefills[turn.preemptions] = prefill_ns(self.limits.costs, turn, resident_tokens, host_tokens) // 1000
        return entered + own_us + 1

    def _service_us(self, turn: Turn) -> int:
        """Return what the call has taken of the engine: its prefills and what it decoded."""
        return sum(self._prefills[turn].values()) + decode_ns(self.limits.costs, turn.sampled) // 1000

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Add the call's service to its path."""
        path_us = self._entered[turn] + self._service_us(turn)
        self._attained[turn.job] = max(self._attained.get(turn.job, 0), path_us)

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        attained_us = size - 1
        queue = min((attained_us // FIRST_RANGE_US).bit_length(), QUEUES - 1)
        if attained_us and job.wait_at(now_us) >= BETA * attained_us:
            queue = 0
        return (queue, serial)
