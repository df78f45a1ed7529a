"""What the driver owes after ``decide``: obligations, each with the numbers that were compared.

``RunBatch``, ``SwapOut`` and ``SwapIn`` are owed a report (``BatchDone``, ``SwapDone``). The others are carried out at
once and owe none. Blocks change hands when a decision is made (to a turn) or when a report arrives (from a copy).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from attrs import frozen

__all__ = [
    "Because",
    "Chunk",
    "Decision",
    "Dispatch",
    "DropCache",
    "Hold",
    "Preempt",
    "Reason",
    "Refuse",
    "RunBatch",
    "SwapIn",
    "SwapOut",
    "WakeAt",
]


class Reason(StrEnum):
    """Why a decision was made, one word for each rule; ``docs/design.md`` tells each rule."""

    RANKED = "ranked"
    """First in the policy's order among what may run."""
    PROMOTED = "promoted"
    """Its job reached the bypass bound (LIVE-1)."""
    STEADY = "steady"
    """The batch goes on as it was."""
    CHANGED = "changed"
    """The batch differs from the last one."""
    GROWTH = "growth"
    """A running turn needs its next block."""
    DEMAND = "demand"
    """Room for the turn that is dispatched or open."""
    HOST_ROOM = "host_room"
    """Room in the host pool for another copy."""
    STALE = "stale"
    """The client edited its history: these tokens are no longer a prefix."""
    ENDED = "ended"
    """The session, job or turn ended."""
    NEVER_FITS = "never_fits"
    """Prompt and output exceed the pool, less what is quarantined."""
    QUEUE_FULL = "queue_full"
    """``turns_max`` turns are live already."""
    TENANT_QUEUE_FULL = "tenant_queue_full"
    """``tenant_turns_max`` turns of this tenant are live already."""
    TENANT_KV_FULL = "tenant_kv_full"
    """The turn alone exceeds ``tenant_kv_blocks_max``."""
    DRAINING = "draining"
    """``Drain`` was received."""
    NO_ROOM = "no_room"
    """Too few blocks are free or may be evicted for it."""
    HEADROOM = "headroom"
    """A start must leave room for the growth of the jobs at work."""
    BLOCKED_START = "blocked_start"
    """A start of higher rank is blocked, and starts keep their order."""
    RESERVED = "reserved"
    """The free blocks are reserved for the open turn."""
    BATCH_FULL = "batch_full"
    """``batch_turns_max`` turns are running."""
    BEHIND_PROMOTED = "behind_promoted"
    """A promoted job waits, and nothing of a later job passes it."""
    PREFIX_FILLING = "prefix_filling"
    """Another running turn is computing its shared prefix."""
    COPYING = "copying"
    """Its cache is being copied; the report decides what it still holds."""
    TENANT_KV = "tenant_kv"
    """Its tenant's running turns hold ``tenant_kv_blocks_max`` blocks."""
    SCAN_LIMIT = "scan_limit"
    """``blocked_scan_max`` blocked turns were looked at."""
    RE_JUDGE = "re_judge"
    """A kept cache of a tool wait is judged again."""


@frozen(slots=True)
class Because:
    """The reason of a decision and the numbers it compared, as ``(name, value)`` pairs with units in the names."""

    reason: Reason
    numbers: tuple[tuple[str, int], ...] = ()


@frozen(slots=True)
class Chunk:
    """What one running turn computes in each step of a batch.

    A chunk goes on from the KV that the turn holds. One that reaches the turn's last known token (the end of the
    prompt, or the token sampled last) samples the next token in that step.
    """

    turn_id: str
    tokens: int
    """Tokens computed in each step, at least 1."""


@frozen(slots=True)
class Dispatch:
    """A waiting turn that enters the batch with this decision, and why it was its turn."""

    turn_id: str
    start_tokens: int
    """KV tokens that it holds on the device, its shared prefix included; the first chunk goes on from here."""
    because: Because


@frozen(slots=True)
class Hold:
    """A waiting turn was looked at and held back, and why. Said again only when the reason changes."""

    turn_id: str
    because: Because


@frozen(slots=True)
class RunBatch:
    """Run the chunks for up to ``max_steps`` steps; stop after a step in which a turn ends or an event arrived."""

    batch_id: int
    chunks: tuple[Chunk, ...]
    """The same object as in the last batch where nothing changed."""
    max_steps: int
    """No fact known to the scheduler changes the chunks before so many steps have run."""
    because: Because
    dispatched: tuple[Dispatch, ...] = ()


@frozen(slots=True)
class SwapOut:
    """Copy KV tokens ``[from_tokens, to_tokens)`` to the host; the device keeps the first ``keep_tokens``."""

    op_id: int
    tenant: str
    session_id: str
    context_id: str
    from_tokens: int
    to_tokens: int
    keep_tokens: int
    because: Because


@frozen(slots=True)
class SwapIn:
    """Copy KV tokens ``[from_tokens, to_tokens)`` from the host copy to the device, for a waiting turn."""

    op_id: int
    turn_id: str
    tenant: str
    session_id: str
    context_id: str
    from_tokens: int
    to_tokens: int
    because: Because


@frozen(slots=True)
class DropCache:
    """Forget KV beyond ``keep_tokens``, on the device or on the host; its blocks are free from now on."""

    tenant: str
    session_id: str
    context_id: str
    """Empty where the cache of a shared prefix is dropped."""
    prefix_id: str
    """Empty where the cache of a context is dropped."""
    on_host: bool
    keep_tokens: int
    kv_blocks: int
    """Blocks that became free."""
    because: Because


@frozen(slots=True)
class Preempt:
    """Take a running turn out of the batch; it waits again and its cache may be evicted."""

    turn_id: str
    because: Because


@frozen(slots=True)
class Refuse:
    """The turn is not, or no longer, admitted. The client's error, never an exception."""

    turn_id: str
    retry_after_us: int | None
    """When to try again; ``None`` where trying again is useless."""
    because: Because


@frozen(slots=True)
class WakeAt:
    """Call ``decide`` at this time even if nothing is reported by then."""

    at_us: int
    because: Because


Decision: TypeAlias = RunBatch | SwapOut | SwapIn | DropCache | Preempt | Refuse | Hold | WakeAt
