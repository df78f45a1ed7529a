"""Is a job I/O-intensive or compute-intensive? The paper's feedback, from what the job has done.

Every job begins in queue 0. A turn that computes more tokens than its queue's quota moves its job one queue down,
towards compute-intensive; one that yields to a tool within its quota moves it one up, towards I/O-intensive. The
measure is tokens, not time, since a step's time depends on who else is in the batch (Astraea paper, section 4.3).
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["QUOTAS_TOKENS", "ComputeClass", "classify", "next_level"]

QUOTAS_TOKENS = (128, 256, 384, 512, 640)
"""Token quota of each queue, first queue first."""


class ComputeClass(IntEnum):
    """The paper's two classes."""

    IO_INTENSIVE = 0
    COMPUTE_INTENSIVE = 1


def next_level(level: int, turn_tokens: int, *, yielded_to_tool: bool) -> int:
    """Return the queue of a job after a turn that computed ``turn_tokens`` tokens (new prompt and output)."""
    if turn_tokens > QUOTAS_TOKENS[level]:
        return min(level + 1, len(QUOTAS_TOKENS) - 1)
    if yielded_to_tool:
        return max(level - 1, 0)
    return level


def classify(level: int) -> ComputeClass:
    """Return the class of a job in queue ``level``: the upper half of the queues is I/O-intensive."""
    return ComputeClass.IO_INTENSIVE if 2 * level < len(QUOTAS_TOKENS) else ComputeClass.COMPUTE_INTENSIVE
