"""Shortest predicted turn first.

Source: the family of schedulers that put a predicted output length in the place of the true one, for example SSJF
(arXiv 2404.08509: shortest job first on the prediction of a small model) and learning to rank (arXiv 2408.15792). The
key is the predicted service of the turn, ``prefill(missing) + predicted output * (step + token)``.

Assumptions: those papers train a language model to predict; here the prediction is the mean output after the same tool
by jobs of the same class, learnt from completed turns. It sees no text, which hurts, and it costs nothing, which
favours. The published key is the output alone; with agents most of a turn is its prompt, so the missing part of
the prompt is added, which favours. There is no ageing, as in SSJF: a long turn starves under load. The cache is a
prefix cache in which a waiting turn's KV goes for those that rank before it, and the first turn that does not fit holds
back all behind it. Approximated: a running turn is not preempted for a shorter one, as some of the family do.
"""

from __future__ import annotations

from astraea.policy.astraea import LearningPolicy
from astraea.policy.classification import classify
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Job, Turn
from astraea.rivals.service import ByRank, decode_ns, prefill_ns

__all__ = ["SjfPredicted"]


def _by_size(job: Job, size: int, serial: int) -> tuple[int, ...]:
    return (size, job.arrival, serial)


class SjfPredicted(LearningPolicy):
    """Least predicted service of the present turn first."""

    name = "sjf-predicted"
    summary = "shortest predicted turn first, output lengths predicted from completed turns"
    source = "SSJF, arXiv 2404.08509; learning to rank, arXiv 2408.15792"
    guarded = False
    blocking = Blocking.EVERYTHING

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(_by_size)
        self.memory = ByRank(limits)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the predicted service of this turn in microseconds."""
        output = self.predictor.output_tokens(classify(turn.job.level), turn.context.last_tool)
        costs = self.limits.costs
        missing_ns = prefill_ns(costs, turn, resident_tokens, host_tokens)
        return max(1, (missing_ns + decode_ns(costs, max(1, output - turn.sampled))) // 1000)
