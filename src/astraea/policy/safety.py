"""What is allowed: the safety rules, for any policy. What is chosen among the allowed is asked of the policy.

The rules, numbered as in ``docs/design.md`` section 6, and where each stands:

1. *Bypass bound*: ``guard.py`` promotes at K; ``admission.py`` places nothing past a waiting promoted job.
2. *Who may cause evictions*: a turn that is placed by them at once, or the one open turn (``admission.py``).
3. *One open turn*: swap-outs serve it alone, and free blocks up to its need are its own (``admission.py``).
4. *Growth* of running turns comes first and is never barred (``batching.py``).
5. *Preemption cap*: after P preemptions a turn runs only with its maximum reserved (here, ``reserve_tokens``).
6. *Nothing runs, nothing owed*: every cache that is not running yields to the first-ranked turn (``Force.ALL``).
7. *Headroom* is waived for promoted jobs and when nothing runs (``admission.py``).
8. *Shared prefixes* are held by running turns and copies only (``prefixes.py``).
9. *Quarantine* ends what no longer fits (``endings.py``).
10. *One token* at least is computed (``kv.py``: a full hit is trimmed to ``goal - 1``).

This file answers which caches a turn may take, least recently used first, tail blocks first: more pressure extends the
list of victims and never changes its beginning, hence INV-10.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.policy.state import Cache, Context, Prefix, Turn
from astraea.policy.waiting import Waiting

__all__ = ["Eviction", "Force", "Safety", "reserve_tokens"]


class Force(IntEnum):
    """How much a turn may take."""

    CHOSEN = 0
    """What the policy lets it take."""
    ALL = 1
    """Every cache that is not running: for a promoted head, and when nothing runs and nothing is owed."""


@frozen(slots=True)
class Eviction:
    """One step of a plan: take the last ``blocks`` blocks of ``cache``, after a copy to the host or at once."""

    cache: Cache
    blocks: int
    copies: bool


def reserve_tokens(turn: Turn, limits: Limits) -> int:
    """Return for how many tokens a dispatch reserves blocks: the known ones, or all after P preemptions."""
    return turn.max_tokens if turn.preemptions >= limits.preemptions_max else turn.goal_tokens


class Safety:
    """Answers what may be evicted for whom, inside the rules and then by the policy's choice."""

    def __init__(self, limits: Limits, policy: Policy, kv: KvCaches, waiting: Waiting) -> None:
        self._limits = limits
        self._policy = policy
        self._kv = kv
        self._ledger = kv.ledger
        self._waiting = waiting

    def need_blocks(self, turn: Turn, tokens: int) -> int:
        """Return how many free device blocks the turn needs to be placed with room for ``tokens`` tokens."""
        holding = turn.context.holding
        need = self._ledger.short_blocks(holding, tokens)
        prefix = holding.prefix
        if prefix is not None and not prefix.ready:
            need += prefix.blocks - prefix.device_blocks
        return need

    def usable_host_tokens(self, turn: Turn) -> int:
        """Return how far a copy from the host would bring the turn, 0 where it brings nothing new."""
        context = turn.context
        holding = context.holding
        upto = min(holding.host_tokens, turn.goal_tokens - 1)
        base = holding.prefix.tokens if holding.prefix is not None else 0
        return upto if upto > max(base, self._kv.resident_tokens(context)) else 0

    def plan(self, turn: Turn, blocks: int, force: Force, now_us: int) -> list[Eviction] | None:
        """Return evictions that free at least ``blocks`` blocks for the turn, or ``None`` where too few may go.

        With ``Force.ALL`` the plan may fall short: everything that can go is in it. A shared prefix that the plan
        leaves with nobody behind it goes last (rule 8).
        """
        evictions: list[Eviction] = []
        behind: dict[Prefix, int] = {}
        free_room, room = self._ledger.host_room(turn.context.holding) if self._limits.host_blocks else (0, 0)
        victims = self._victims(turn, force)
        for cache in victims:  # which grows by the prefixes that come free
            if blocks <= 0:
                break
            if isinstance(cache, Prefix):
                taken = min(blocks, cache.device_blocks)
                evictions.append(Eviction(cache, taken, copies=False))
            else:
                missing = self._missing_on_host(cache)
                copies = 0 < missing <= room and self._swaps(cache)
                lossless = not missing or (copies and missing <= free_room)
                if not self._allowed(turn, cache, force, now_us, lossless=lossless):
                    continue
                taken = min(blocks, cache.holding.device_blocks)
                if copies:
                    free_room, room = free_room - missing, room - missing
                elif taken == cache.holding.device_blocks:
                    victims += self._bared(cache.holding.prefix, behind, turn)
                evictions.append(Eviction(cache, taken, copies))
            blocks -= taken
        return evictions if blocks <= 0 or force is Force.ALL else None

    @staticmethod
    def _bared(prefix: Prefix | None, behind: dict[Prefix, int], turn: Turn) -> list[Cache]:
        """Note that a context behind a prefix loses all it has; return the prefix if it was the last one."""
        if prefix is None:
            return []
        behind[prefix] = left = behind.get(prefix, prefix.dependents) - 1
        own = turn.context.holding.prefix
        return [] if left or prefix.holders or prefix is own else [prefix]

    def _victims(self, turn: Turn, force: Force) -> list[Cache]:
        own, prefix = turn.context, turn.context.holding.prefix
        caches = [c for c in self._ledger.caches.values() if c is not own and c is not prefix]
        if force is Force.ALL:
            # Later-arrived jobs pay first for a promoted one; idle caches belong to nobody.
            arrival = turn.job.arrival
            caches.sort(key=lambda c: isinstance(c, Context) and c.job is not None and c.job.arrival < arrival)
        return caches

    def _allowed(self, turn: Turn, victim: Context, force: Force, now_us: int, *, lossless: bool) -> bool:
        if force is Force.ALL or victim.job is None:
            return True
        if victim.turn is not None and victim.turn.serial in self._waiting.returned:
            return False
        if victim.turn is None and now_us >= victim.keep_until_us:
            return True
        before = self._ranks_before(turn, victim, now_us)
        return self._policy.memory.may_evict_protected(
            turn, victim, self._ledger, now_us, ranks_before=before, lossless=lossless
        )

    def _ranks_before(self, turn: Turn, victim: Context, now_us: int) -> bool:
        queue, job, other = self._policy.queue, turn.job, victim.job
        assert other is not None
        waiter = victim.turn
        size, serial = (victim.size, 0) if waiter is None else (waiter.size, waiter.serial)
        return queue.key(job, turn.size, turn.serial, now_us) < queue.key(other, size, serial, now_us)

    def _missing_on_host(self, context: Context) -> int:
        """Host blocks that a copy of the context still needs; 0 where the host has it all."""
        holding = context.holding
        if holding.host_tokens >= holding.device_tokens:
            return 0
        return self._limits.blocks_for(holding.device_tokens) - holding.host_blocks

    def _swaps(self, context: Context) -> bool:
        holding = context.holding
        return self._policy.memory.swaps(holding.device_tokens - holding.host_tokens, holding.host_tokens)
