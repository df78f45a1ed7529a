"""A time to live for the cache of each tool call, and programs first-come-first-served (Continuum, later CacheTTL).

Source: Continuum (arXiv 2511.02230). A cache is pinned after a call of tool f for

    tau = argmax over t of  P(t, f) (T eta + PrefillReload) - t,

P being the empirical distribution of the tool's durations, t one of these or 0, T the sliding mean of the queue delay
of requests whose cache was evicted (0 at first), ``eta = -Corr(k, N - k)`` over the programs that ended (k turns done
of N: 1 for a fixed number of turns, 0 for a memoryless one), and PrefillReload the time to compute the cache again or
to load it from the host. A tool with fewer than 100 durations is judged by those of all tools; before there are 100 in
all, tau is fixed. *Order*: preempted requests, then those that came back within their time to live, then the others;
each by their program's arrival. A pin ends when its time is over, unless its program waits in the queue by then.
*Deadlock*: where nothing runs, pins go, the latest-arrived program's first (here that is rule 6 of the core).

Assumptions: the fixed tau at the cold start is 1 s, the mean of the exponential distribution that the paper derives its
default from. The distributions are of the last 1,000 durations of a tool, T of the last 100 delays; the paper gives no
window. A request counts as evicted where more than a block of its cache is gone. Its queue delay is the growth of its
job's wait, which for parallel turns counts time once. eta is cut to between 0 and 1, and is 1 before any program has
ended.

Nothing of the policy is approximated by the protocol. Its engine is vLLM: what is not pinned goes least recently used
first for whoever comes, and the first turn that does not fit holds back all behind it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import isqrt
from weakref import WeakKeyDictionary

from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.protocol import Blocking
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Context, Job, Turn
from astraea.rivals.fcfs import Unlearned

__all__ = ["COLD_TTL_US", "ENOUGH", "Continuum", "Durations", "TimeToLive", "TurnsLeft"]

COLD_TTL_US = 1_000_000
ENOUGH = 100
"""Durations from which on a distribution is trusted."""
_DURATIONS_MAX = 1_000
_DELAYS_MAX = 100
_PREEMPTED, _PINNED, _OTHER = 1, 2, 3


class Durations:
    """The last durations of a tool."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque()
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, wait_us: int) -> None:
        """Add a duration, and forget the oldest where there are too many."""
        self._latest.append(wait_us)
        insort(self._sorted, wait_us)
        if len(self._latest) > _DURATIONS_MAX:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]

    def best_us(self, worth_us: int) -> int:
        """Return the t of ``argmax P(t) worth - t`` among the durations and 0, the longest of several alike."""
        best_us, most, count = 0, 0, len(self._sorted)
        for rank, wait_us in enumerate(self._sorted, start=1):
            value = rank * worth_us - count * wait_us
            if value >= most:
                best_us, most = wait_us, value
        return best_us


class TurnsLeft:
    """How the turns that programs have done tell of those that they have left."""

    def __init__(self) -> None:
        self._count = self._x = self._y = self._xx = self._yy = self._xy = 0

    def add(self, turns: int) -> None:
        """Add a program that ended after so many turns: a pair (k, N - k) for each."""
        for done in range(1, turns + 1):
            left = turns - done
            self._count += 1
            self._x += done
            self._y += left
            self._xx += done * done
            self._yy += left * left
            self._xy += done * left

    def eta_permille(self) -> int:
        """Return ``-Corr(k, N - k)`` in thousandths, cut to 0 .. 1000; 1000 where nothing varies."""
        spread = (self._count * self._xx - self._x**2) * (self._count * self._yy - self._y**2)
        if not spread:
            return 1000
        return min(1000, max(0, -1000 * (self._count * self._xy - self._x * self._y) // isqrt(spread)))


class TimeToLive(LeastRecentlyUsed):
    """Pins a cache for a time; what is pinned goes for nobody."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.tools: dict[str, Durations] = {}
        self.all_tools = Durations()
        self.turns_left = TurnsLeft()
        self.delays_us: deque[int] = deque(maxlen=_DELAYS_MAX)
        """Queue delays of turns that had lost of their cache."""

    def reload_us(self, tokens: int) -> int:
        """Return the time to have a cache again."""
        costs = self._limits.costs
        compute_ns = costs.prefill_ns(0, tokens)
        return (min(compute_ns, costs.swap_ns_per_token * tokens) if self._limits.host_blocks else compute_ns) // 1000

    def ttl_us(self, tool: str, tokens: int) -> int:
        """Return tau."""
        if len(self.all_tools) < ENOUGH:
            return COLD_TTL_US
        durations = self.tools.get(tool, self.all_tools)
        delay_us = sum(self.delays_us) // max(1, len(self.delays_us))
        worth_us = delay_us * self.turns_left.eta_permille() // 1000 + self.reload_us(tokens)
        return (durations if len(durations) >= ENOUGH else self.all_tools).best_us(worth_us)

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return when the pin ends; a tool that takes just as long as its time to live finds its cache."""
        ttl_us = self.ttl_us(context.waits_for, context.holding.device_tokens)
        return now_us + ttl_us + 1 if ttl_us else now_us

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say no for what is pinned, over a tool call or since one, and yes for what merely waits."""
        if victim is None:
            return True
        return victim.turn is not None and victim.turn.size == _OTHER


class Continuum(Unlearned):
    """Order of the programs' arrival, caches pinned for a time to live."""

    name = "continuum"
    summary = (
        "caches pinned for a time to live from each tool's durations, programs first-come-first-served (Continuum)"
    )
    source = "arXiv 2511.02230"
    blocking = Blocking.EVERYTHING

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._ttl = TimeToLive(limits)
        self.memory = self._ttl
        self.queue = StaticQueue(_by_class)
        self._in_time: WeakKeyDictionary[Context, bool] = WeakKeyDictionary()
        """Whether the last tool of a context returned within its time to live."""
        self._came: WeakKeyDictionary[Turn, tuple[int, bool]] = WeakKeyDictionary()
        """By turn: its job's wait when it came, and whether it had lost of its cache."""

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the turn's class: preempted, pinned, or neither."""
        if turn not in self._came:
            lost = turn.prompt_tokens - turn.new_tokens - resident_tokens > self.limits.block_tokens
            self._came[turn] = (turn.job.wait_at(now_us), lost)
        if turn.preemptions:
            return _PREEMPTED
        return _PINNED if resident_tokens and self._in_time.get(turn.context, False) else _OTHER

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Learn how long the tool took, and note whether the pin held."""
        self._ttl.all_tools.add(wait_us)
        self._ttl.tools.setdefault(context.waits_for, Durations()).add(wait_us)
        self._in_time[context] = context.waits_since_us + wait_us < context.keep_until_us

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn the queue delay of a turn that had lost of its cache."""
        self._in_time.pop(turn.context, None)
        before_us, lost = self._came[turn]
        if lost:
            self._ttl.delays_us.append(max(0, turn.job.wait_us - before_us))

    def job_ended(self, job: Job) -> None:
        """Learn how many turns a program has."""
        self._ttl.turns_left.add(job.turns_begun)


def _by_class(job: Job, size: int, serial: int) -> tuple[int, ...]:
    return (size, job.arrival, serial)
