"""What rivals ask of a turn: how much of its prompt is missing, what it takes of the engine, how long it has waited."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from astraea.policy.ledger import Ledger
from astraea.policy.limits import EngineCosts, Limits
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.state import Context, Job, Turn

__all__ = ["ByRank", "ReadyTimes", "decode_ns", "held_tokens", "prefill_ns", "running_tokens"]


def held_tokens(turn: Turn, resident_tokens: int, host_tokens: int) -> int:
    """Return how many tokens of the turn need not be computed, those that come back from the host included."""
    return max(resident_tokens, min(host_tokens, turn.goal_tokens - 1))


def prefill_ns(costs: EngineCosts, turn: Turn, resident_tokens: int, host_tokens: int) -> int:
    """Return the engine time of what is missing of the turn's prompt; one token at least is computed."""
    held = held_tokens(turn, resident_tokens, host_tokens)
    return costs.prefill_ns(held, max(1, turn.goal_tokens - held))


def decode_ns(costs: EngineCosts, output_tokens: int) -> int:
    """Return the time of so many output tokens, a step each."""
    return output_tokens * (costs.step_ns + costs.prefill_ns_per_token)


def running_tokens(limits: Limits, ledger: Ledger) -> int:
    """Return the tokens of KV that running turns hold, in whole blocks: what is neither free, frozen nor evictable."""
    evictable = sum(
        cache.holding.device_blocks if isinstance(cache, Context) else cache.device_blocks
        for cache in ledger.caches.values()
    )
    return (ledger.device_usable - ledger.device_free - evictable) * limits.block_tokens


class ReadyTimes:
    """When each turn became ready last: when it arrived, or was preempted."""

    def __init__(self) -> None:
        self._since: WeakKeyDictionary[Turn, tuple[int, int]] = WeakKeyDictionary()
        """By turn: its preemptions by then, and the time."""

    def note(self, turn: Turn, now_us: int) -> None:
        """Note that a turn waits; to be called whenever its size is asked."""
        known = self._since.get(turn)
        if known is None or known[0] != turn.preemptions:
            self._since[turn] = (turn.preemptions, now_us)

    def wait_us(self, job: Job, serial: int, now_us: int) -> int:
        """Return for how long a turn of the job has waited; 0 for one that does not wait."""
        turn = job.turns.get(serial)
        known = None if turn is None else self._since.get(turn)
        return 0 if known is None else now_us - known[1]


class ByRank(LeastRecentlyUsed):
    """A prefix cache in which a waiting turn's KV goes only for a turn that ranks before it: order and memory agree."""

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say whether the turn ranks before."""
        return ranks_before
