"""A policy whose estimates go mad: its sizes and memory preferences are replaced by adversarial ones for a while.

What it answers is still within the protocol; the claims must hold whatever it is.
"""

from __future__ import annotations

from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.protocol import Memory, Policy
from astraea.policy.state import Context, Job, Turn
from astraea.simulator.workloads.dice import Dice

__all__ = ["MODES", "MadEstimates"]

MODES = ("random", "inverted", "starving", "alike")
"""Sizes: drawn anew at each question; the largest first; some jobs always last; all the same."""

_LARGEST = 1 << 62
_FOREVER_US = 1 << 60
_BITS = 62
_STARVED = 3
"""One job of so many is the one that is always last."""


class MadEstimates:
    """Wraps a policy; sane until ``mode`` names one of :data:`MODES`."""

    def __init__(self, policy: Policy, limits: Limits, seed: int) -> None:
        self._sane = policy
        self._dice = Dice(seed)
        self.mode = ""
        self.name = f"{policy.name}+mad-estimates"
        self.summary = policy.summary
        self.source = policy.source
        self.guarded = policy.guarded
        self.clairvoyant = policy.clairvoyant
        self.blocking = policy.blocking
        self.queue = policy.queue
        self.memory: Memory = _MadMemory(self, policy.memory, self._dice, limits.device_blocks)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the size that the mode makes of it, at least 1."""
        true = self._sane.size(turn, resident_tokens, host_tokens, now_us)
        match self.mode:
            case "":
                return true
            case "random":
                return 1 << self._dice.below(_BITS)
            case "inverted":
                return max(1, _LARGEST // true)
            case "starving":
                return 1 if turn.job.arrival % _STARVED else _LARGEST
            case _:
                return 1

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Pass it on."""
        self._sane.turn_ended(turn, tool, to_tool=to_tool)

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Pass it on."""
        self._sane.tool_returned(context, wait_us)

    def steps_done(self, steps: int) -> None:
        """Pass it on."""
        self._sane.steps_done(steps)

    def job_ended(self, job: Job) -> None:
        """Pass it on."""
        self._sane.job_ended(job)


class _MadMemory:
    """Answers by dice while the policy is mad."""

    def __init__(self, policy: MadEstimates, sane: Memory, dice: Dice, device_blocks: int) -> None:
        self._policy = policy
        self._sane = sane
        self._dice = dice
        self.headroom_blocks_max = device_blocks

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return now, the end of time, or what is sensible."""
        choice = self._dice.below(3) if self._policy.mode else 0
        if choice:
            return now_us if choice == 1 else now_us + _FOREVER_US
        return self._sane.keep_until_us(context, ledger, now_us)

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say yes or no."""
        if self._policy.mode:
            return self._dice.below(2) == 0
        return self._sane.may_evict_protected(
            turn, victim, ledger, now_us, ranks_before=ranks_before, lossless=lossless
        )

    def swaps(self, tokens: int, start_tokens: int) -> bool:
        """Say yes or no."""
        if self._policy.mode:
            return self._dice.below(2) == 0
        return self._sane.swaps(tokens, start_tokens)

    def headroom_blocks(self, active_contexts: int) -> int:
        """Return any number of blocks up to the whole pool."""
        if self._policy.mode:
            return self._dice.below(self.headroom_blocks_max + 1)
        return self._sane.headroom_blocks(active_contexts)
