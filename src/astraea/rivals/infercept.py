"""Min-waste interception: keep, swap or discard, judged anew as a tool call lasts, in order of original arrival.

Source: InferCept (ICML'24, arXiv 2402.01869) and its code. For an intercepted context of C tokens (M, the
bytes of a token, cancels):

* Eq. 2, preserve: ``T_INT C``, with the estimate ``T_INT = now - call`` for a duration that is not known;
* Eq. 4, discard and recompute in n chunks up to the saturation point S: ``T_fwd(C) C / 2 + n T_fwd(C/n) C_other``. As
  in the code, a chunk of the context itself takes a whole step, and delays the others by what it adds to the step;
* Eq. 5: the lesser of the two; it is preserved while Eq. 2 is the lesser;
* Eq. 3, swap: hidden behind the forward pass it wastes nothing, so what the host has room for may go at any time.

Order: resumed requests whose cache stands on the device, then those on the host, then those with nothing, each by the
original arrival of their job (the queues running, swapped, waiting).

Assumptions: S is the engine's token budget of a step; C_other is what the running turns hold. A discarded cache stays
where it is until somebody needs the room, which favours: InferCept frees it at once. So does that the judgement is made
at the moment of need, with the C_other of that moment; and between passes nothing is allocated.

Approximated: the sorting of intercepted requests by waste, and the budget of swaps in an iteration; those that may go
do so least recently used first, and copies queue on the link. A running turn is preempted for memory alone.
"""

from __future__ import annotations

from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Context, Job, Turn
from astraea.rivals.fcfs import Unlearned
from astraea.rivals.service import ByRank, running_tokens

__all__ = ["Infercept", "InterceptionWaste"]

_RESIDENT, _ON_HOST, _NOTHING = 1, 2, 3


class InterceptionWaste(ByRank):
    """Preserves while the call is shorter than what a recomputation would waste."""

    def discard_waste(self, tokens: int, others: int) -> int:
        """Return Eq. 4 in token-nanoseconds."""
        limits = self._limits
        compute_ns = limits.costs.prefill_ns(0, tokens)
        chunks = -(-tokens // limits.step_tokens_max)
        return (chunks * limits.costs.step_ns + compute_ns) * tokens // 2 + compute_ns * others

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return when Eq. 2 exceeds Eq. 4 at the latest: with the whole rest of the pool for C_other."""
        tokens = context.holding.device_tokens
        if not tokens:
            return now_us
        others = max(0, self._limits.device_tokens - tokens)
        return now_us + self.discard_waste(tokens, others) // (1000 * tokens) + 1

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say yes for what may be swapped, or is wasted by being preserved; for what a turn waits for, by order."""
        if victim is None:
            return True
        if victim.turn is not None:
            return ranks_before
        tokens = victim.holding.device_tokens
        preserve = 1000 * (now_us - victim.waits_since_us) * tokens
        return lossless or preserve > self.discard_waste(tokens, running_tokens(self._limits, ledger))


class Infercept(Unlearned):
    """Order of original arrival, least waste of memory over tool calls."""

    name = "infercept"
    summary = "min-waste keep, swap or discard judged anew while a tool runs, original arrival order (InferCept)"
    source = "arXiv 2402.01869, Eqs 2 to 5; https://github.com/WukLab/InferCept"
    blocking = Blocking.STARTS

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.memory = InterceptionWaste(limits)
        self.queue = StaticQueue(_by_queue)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the number of the turn's queue: resident, on the host, or nothing held."""
        if resident_tokens:
            return _RESIDENT
        return _ON_HOST if host_tokens else _NOTHING


def _by_queue(job: Job, size: int, serial: int) -> tuple[int, ...]:
    return (size, job.arrival, serial)
