"""What a policy chooses, as three small protocols. What it may not choose is in ``safety.py``.

A policy is one object of three parts: an *order* of the waiting turns (:class:`ReadyQueue`), *memory* preferences
(:class:`Memory`) and what it learns from what happened. The core asks, inside the safety rules; no answer can break a
claim, except that a policy with ``guarded = False`` gives LIVE-1 (and with it LIVE-4) up and says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from astraea.policy.ledger import Ledger
from astraea.policy.state import Context, Job, Turn

__all__ = ["Blocking", "Cursor", "Memory", "Policy", "ReadyQueue"]


class Blocking(StrEnum):
    """What a turn that does not fit holds back behind it."""

    EVERYTHING = "everything"
    """Strict head-of-line order."""
    STARTS = "starts"
    """A start that does not fit holds back later starts; continuations pass."""
    NOTHING = "nothing"
    """Best-effort packing."""


class Cursor(Protocol):
    """Walks the waiting turns best first, at one point in time. The queue is not changed while it walks."""

    def next(self) -> Turn | None:
        """Return the next turn, or ``None`` at the end."""

    def skip_starts(self) -> None:
        """Leave out the starts from here on."""


class ReadyQueue(Protocol):
    """Holds the waiting turns in the policy's order."""

    def add(self, turn: Turn) -> None:
        """Add a turn by its present ``size``, ``starts`` and its job's ``ready_key``; give it a ``place``."""

    def remove(self, turn: Turn) -> None:
        """Remove a turn that was added, and take its ``place`` back."""

    def cursor(self, now_us: int) -> Cursor:
        """Return a walk in the order that holds at ``now_us``."""

    def key(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        """Return the sort key at ``now_us``, smaller first, of a turn of that job and size, queued or not."""

    def __len__(self) -> int:
        """Return how many turns wait."""


class Memory(Protocol):
    """Chooses which caches to keep, whom to evict for whom, and when to admit a start."""

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return until when the cache of a context that waits for a tool is kept; at most ``now_us``: not kept."""

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say whether the turn may evict a cache that is kept or that a waiting turn needs.

        ``victim``: whose cache; ``None`` asks whether it may evict any. ``ranks_before``: the turn ranks before the
        cache's job; ``lossless``: the cache is on the host, or fits there.
        """

    def swaps(self, tokens: int, start_tokens: int) -> bool:
        """Say whether an evicted cache should be copied to the host rather than dropped, where the host has room."""

    headroom_blocks_max: int
    """The most that ``headroom_blocks`` returns."""

    def headroom_blocks(self, active_contexts: int) -> int:
        """Return the blocks that a start must leave free for the growth of ``active_contexts`` contexts."""


class Policy(Protocol):
    """Everything that the scheduler leaves to choice."""

    name: str
    summary: str
    """One line for people."""
    source: str
    """Where it was published."""
    guarded: bool
    """Whether the bypass bound is enforced."""
    clairvoyant: bool
    """Whether it reads :class:`astraea.events.Oracle`; excepted from INV-9 and not for serving."""
    blocking: Blocking
    queue: ReadyQueue
    memory: Memory

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the turn's size, at least 1; asked when it becomes ready and when its residency changes."""

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn from a turn that ended; ``tool`` is the tool that returned before it."""

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Learn from a tool wait that ended."""

    def steps_done(self, steps: int) -> None:
        """Learn that so many steps of the engine were reported."""

    def job_ended(self, job: Job) -> None:
        """Learn from a job that ended with an answer."""
