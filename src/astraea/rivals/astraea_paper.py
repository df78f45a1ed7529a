"""The published Astraea (arXiv 2512.14142, sections 4.2 to 4.4), adapted to continuous batching and nothing else.

* *Stateful MLFQ* (4.3): five queues with quotas 128/256/384/512/640 tokens (the paper names no numbers), strict
  priority; a turn over its quota moves its job one queue down, a turn that yields to a tool within it one up.
* *Eq. 4*: within a queue, ``(W + T) / T`` with W the job's accumulated wait over all turns and T the service of the
  current turn, ``f_prefill(n_in) + n_gen * decode latency``. The paper gives n_gen by a segment-level oracle; so does
  this policy, which therefore counts as clairvoyant. n_in is the uncached part of the prompt.
* *Ageing*: a job of the last queue whose ratio exceeds ``AGEING_RATIO`` moves to the first.
* *KV* (4.4): below a memory watermark every waiting cache is preserved; above it the least of Eqs 5 to 7 is chosen:
  preserve ``T_api C_self``, discard ``T_recompute C_batch``, swap ``2 T_swap C_batch``, C_batch being the tokens of the
  other requests. T_api is the mean wait of the tool; it is judged once, at the call, as published.
* *Adaptation*: a batch is refilled at every boundary, from all queues in order (the paper runs a batch of one queue to
  completion); what does not fit is passed over (Algorithm 1, line 9). The paper does not say what becomes of the
  cache of a turn that is ready and waits; here a turn may evict the caches of those that rank after it, so that order
  and memory agree. Token cost, which the paper leaves open too, is a turn's new prompt tokens plus its output.

The paper states no watermark and no ageing ratio; 0.9 and 10 are assumed. No bound on waiting follows: ``guarded`` is
false.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.classification import QUOTAS_TOKENS
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Context, Job, Turn
from astraea.rivals.hrrn_turn import scaled_ratio
from astraea.rivals.service import ByRank, decode_ns, prefill_ns

__all__ = ["AGEING_RATIO", "WATERMARK_PERMILLE", "AstraeaPaper", "MinWaste"]

AGEING_RATIO = 10
WATERMARK_PERMILLE = 900
_FOR_EVER_US = 1 << 62


class MinWaste(ByRank):
    """Preserve below the watermark; above it the least waste of Eqs 5 to 7. The order holds for memory, too."""

    def __init__(self, limits: Limits, predictor: Predictor) -> None:
        super().__init__(limits)
        self._predictor = predictor

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return for ever where the cache is preserved, else ``now_us``."""
        limits = self._limits
        used = limits.device_blocks - ledger.device_free
        if 1000 * used < WATERMARK_PERMILLE * limits.device_blocks:
            return _FOR_EVER_US
        own = context.holding.device_tokens
        others = max(0, used * limits.block_tokens - own)
        preserve = self._predictor.tool_wait_us(context.waits_for) * 1000 * own
        discard = limits.costs.prefill_ns(0, own) * others
        swap = 2 * limits.costs.swap_ns_per_token * own * others
        least = min(discard, swap) if limits.host_blocks else discard
        return _FOR_EVER_US if preserve <= least else now_us


class AstraeaPaper(LearningPolicy):
    """Stateful MLFQ with HRRN inside the queues, and the adaptive KV manager."""

    name = "astraea-paper"
    summary = "the published Astraea: stateful MLFQ, HRRN within queues, min-waste KV; given each turn's true length"
    source = "arXiv 2512.14142, sections 4.2 to 4.4"
    guarded = False
    clairvoyant = True
    blocking = Blocking.NOTHING

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.memory = MinWaste(limits, self.predictor)
        self.queue = ScanQueue(self._key)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the service of the current turn in microseconds (section 4.2)."""
        costs = self.limits.costs
        oracle = turn.hints.oracle
        output = oracle.output_tokens if oracle is not None else self.limits.tuning.prior_output_tokens
        return max(1, (prefill_ns(costs, turn, resident_tokens, host_tokens) + decode_ns(costs, output)) // 1000)

    def _key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        wait_us = job.wait_at(now_us)
        last = len(QUOTAS_TOKENS) - 1
        if job.level == last and wait_us + size > AGEING_RATIO * size:
            job.level = 0
        return (job.level, -scaled_ratio(wait_us, size), job.arrival, serial)
