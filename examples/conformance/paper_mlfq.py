"""The scheduling algorithm of the Astraea paper as it was published (arXiv 2512.14142), on this project's own core.

It is the policy ``astraea-paper``: five queues in strict order, the response ratio inside a queue, and ageing of the
last queue only. It is told each turn's true length, as in the paper, and it knows jobs.
"""

from astraea import Limits
from astraea.rivals import make_policy
from astraea.testing import CoreAdapter

LIMITS = Limits(device_blocks=40, batch_turns_max=4, step_tokens_max=256)


def paper_mlfq() -> CoreAdapter:
    """Return the adapter."""
    return CoreAdapter(LIMITS, make_policy("astraea-paper", LIMITS))
