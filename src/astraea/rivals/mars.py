"""Least memory over time first, with a handling of each tool call that is predicted before it (LAMPS, later MARS).

Source: "Fast Inference for Augmented Large Language Models" (arXiv 2410.18248; NeurIPS 2025 as MARS),
4.4. Each tool call splits a job; each part is ranked by the integral of the memory that it holds over time, smallest
first: the tokens held during prefill and decode, and those of the call by its predicted handling, with E the context at
the call and M cancelled,

* preserve: ``E T_api``; discard: ``E T_fwd(E)``; swap: ``2 E T_swap(E)``;

the handling is that of the least waste of InferCept's Eqs 1 to 3: ``T_api E``, ``T_fwd(E) (E + C_other)`` and
``2 T_swap(E) C_batch``. *Starvation*: what has waited for more than 100 iterations goes to the head.

Assumptions: the paper predicts output lengths with a trained model; here the true length of the present turn is given,
which favours, and makes the policy clairvoyant. T_api is the mean wait of the tool, as published; before the call it is
that of the job's last tool. C_other and C_batch are what the running turns hold: at a call those of the moment, before
it their mean over the calls so far. The call's share of the integral is weighed by the share of turns that called a
tool, since an answer is not known from a call beforehand. Those at the head are in order of their jobs' arrival.
What is preserved belongs to its request, as in the engine below, until the request runs again or was preempted:
nobody who waits takes it. Other caches go for turns that rank before them. A request that holds its memory is not
held back by a new one that does not fit.

Approximated: the published system preempts running requests for better-ranked ones; here a turn that was dispatched
runs to its end, which hurts where outputs are long. What is discarded or swapped stays until somebody needs the room,
which favours.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from astraea.policy.astraea import LearningPolicy
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Context, Job, Turn
from astraea.rivals.service import ByRank, decode_ns, prefill_ns, running_tokens

__all__ = ["STARVATION_STEPS", "Mars", "PredictedHandling"]

STARVATION_STEPS = 100
_FOR_EVER_US = 1 << 62


class PredictedHandling(ByRank):
    """Preserves a cache where Eqs 1 to 3 say so at the call."""

    def __init__(self, limits: Limits, predictor: Predictor) -> None:
        super().__init__(limits)
        self._predictor = predictor
        self._came_back: WeakKeyDictionary[Context, bool] = WeakKeyDictionary()
        """Whether a context was preserved over its last tool call."""
        self._others_sum = 0
        self._calls = 0

    def wastes(self, tokens: int, wait_us: int, others: int) -> tuple[int, int, int]:
        """Return Eqs 2, 1 and 3 (preserve, discard, swap) in token-nanoseconds; no host pool: no swap."""
        limits = self._limits
        discard = limits.costs.prefill_ns(0, tokens) * (tokens + others)
        swap = 2 * limits.costs.swap_ns_per_token * tokens * others
        return 1000 * wait_us * tokens, discard, swap if limits.host_blocks else discard + 1

    def call_area(self, tokens: int, tool: str) -> int:
        """Return the memory over time of a call to come, handled with the least waste."""
        costs = self._limits.costs
        wait_us = self._predictor.tool_wait_us(tool)
        preserve, discard, swap = self.wastes(tokens, wait_us, self._others_sum // max(1, self._calls))
        if preserve <= min(discard, swap):
            return 1000 * wait_us * tokens
        return tokens * (costs.prefill_ns(0, tokens) if discard <= swap else 2 * costs.swap_ns_per_token * tokens)

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return for ever where to preserve is the least waste, else ``now_us``."""
        others = running_tokens(self._limits, ledger)
        self._others_sum += others
        self._calls += 1
        wait_us = self._predictor.tool_wait_us(context.waits_for)
        preserve, discard, swap = self.wastes(context.holding.device_tokens, wait_us, others)
        return _FOR_EVER_US if preserve <= min(discard, swap) else now_us

    def returned(self, context: Context) -> None:
        """Note whether a context is still preserved as its tool returns."""
        self._came_back[context] = context.keep_until_us == _FOR_EVER_US

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say no for what is preserved, over a call or since one, and else whether the turn ranks before."""
        if victim is None:
            return True
        if victim.turn is None or (self._came_back.get(victim, False) and not victim.turn.preemptions):
            return False
        return ranks_before


class Mars(LearningPolicy):
    """Least memory over time first."""

    name = "mars"
    summary = (
        "least memory over time first, tool calls handled as predicted; given each turn's true length (LAMPS, MARS)"
    )
    source = "arXiv 2410.18248"
    guarded = False
    clairvoyant = True
    blocking = Blocking.STARTS

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._handling = PredictedHandling(limits, self.predictor)
        self.memory = self._handling
        self.queue = ScanQueue(self._key)
        self._turns = 0
        self._tool_calls = 0
        self._steps = 0
        self._waits_since: WeakKeyDictionary[Turn, tuple[int, int]] = WeakKeyDictionary()
        """By waiting turn: its preemptions by then, and the steps done when it was first looked at."""

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the memory over time of this part of the job, in token-microseconds."""
        costs, goal, oracle = self.limits.costs, turn.goal_tokens, turn.hints.oracle
        output = self.limits.tuning.prior_output_tokens if oracle is None else oracle.output_tokens
        output = max(1, output - turn.sampled)
        area = goal * prefill_ns(costs, turn, resident_tokens, host_tokens)
        area += (2 * goal + output) * decode_ns(costs, output) // 2
        call = self._handling.call_area(goal + output, turn.context.last_tool)
        return max(1, (area + call * self._tool_calls // max(1, self._turns)) // 1000)

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn, and count how many turns call a tool."""
        super().turn_ended(turn, tool, to_tool=to_tool)
        self._turns += 1
        self._tool_calls += to_tool

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Learn a tool's wait, and note whether the cache was preserved over it."""
        super().tool_returned(context, wait_us)
        self._handling.returned(context)

    def steps_done(self, steps: int) -> None:
        """Count the iterations."""
        self._steps += steps

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        turn = job.turns.get(serial)
        if turn is not None and self._waited_steps(turn) > STARVATION_STEPS:
            return (0, job.arrival, serial)
        return (1, size, job.arrival, serial)

    def _waited_steps(self, turn: Turn) -> int:
        known = self._waits_since.get(turn)
        if known is None or known[0] != turn.preemptions:
            known = self._waits_since[turn] = (turn.preemptions, self._steps)
        return self._steps - known[1]
