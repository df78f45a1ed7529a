"""The two machines as literal tables: what may follow what, and nothing else.

* The **turn** machine says where one LLM call stands, from its arrival to its one end.
* The **KV** machine says where one *holding* stands: the KV that a context owns, privately, on the device and the host.
  A context has one current holding. A holding that outlives its context (``*_DEAD``) or that a lost report froze
  (``QUARANTINED``) belongs to nobody; its blocks come back with the report.

Both are looked up by :func:`next_turn_state` and :func:`next_kv_state` and nowhere else. What a table cannot say (which
of two inputs applies, how many blocks move) is said in ``core.py`` and ``safety.py``; an input without a row is a bug
in Astraea and raises :class:`~astraea.errors.InvariantError` (INV-2).
"""

from __future__ import annotations

from enum import StrEnum

from astraea.errors import InvariantError

__all__ = [
    "IN_COPY",
    "KV_TABLE",
    "READY",
    "TURN_ENDS",
    "TURN_TABLE",
    "KvInput",
    "KvState",
    "TurnInput",
    "TurnState",
    "next_kv_state",
    "next_turn_state",
]


class TurnState(StrEnum):
    """Where a turn stands."""

    WAITING = "waiting"
    """Admitted and ready; not in the batch."""
    RETURNING = "returning"
    """Waiting while its host copy comes back; still counts as waiting (LIVE-1)."""
    RUNNING = "running"
    """In the batch."""
    PREEMPTED = "preempted"
    """Was running and waits again."""
    STOPPING = "stopping"
    """Ended by its client or by quarantine while the engine computes it; gone with the batch's report."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class TurnInput(StrEnum):
    """What may happen to a turn."""

    DISPATCH = "dispatch"
    SWAP_IN = "swap_in"
    SWAP_DONE = "swap_done"
    SWAP_FAILED = "swap_failed"
    SWAP_OVERDUE = "swap_overdue"
    PREEMPT = "preempt"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    CANCEL_IN_BATCH = "cancel_in_batch"
    BATCH_DONE = "batch_done"
    BATCH_OVERDUE = "batch_overdue"
    SQUEEZE = "squeeze"
    """Quarantine left too small a pool for it."""
    SQUEEZE_IN_BATCH = "squeeze_in_batch"


READY = (TurnState.WAITING, TurnState.PREEMPTED)
"""Where a turn can be placed."""
TURN_ENDS = frozenset({TurnState.FINISHED, TurnState.FAILED, TurnState.CANCELLED, TurnState.REFUSED})

TURN_TABLE: dict[TurnState, dict[TurnInput, TurnState]] = {
    TurnState.WAITING: {
        TurnInput.DISPATCH: TurnState.RUNNING,
        TurnInput.SWAP_IN: TurnState.RETURNING,
        TurnInput.CANCEL: TurnState.CANCELLED,
        TurnInput.SQUEEZE: TurnState.REFUSED,
    },
    TurnState.RETURNING: {
        TurnInput.SWAP_DONE: TurnState.WAITING,
        TurnInput.SWAP_FAILED: TurnState.WAITING,
        TurnInput.SWAP_OVERDUE: TurnState.WAITING,
        TurnInput.CANCEL: TurnState.CANCELLED,
        TurnInput.SQUEEZE: TurnState.REFUSED,
    },
    TurnState.RUNNING: {
        TurnInput.PREEMPT: TurnState.PREEMPTED,
        TurnInput.FINISH: TurnState.FINISHED,
        TurnInput.FAIL: TurnState.FAILED,
        TurnInput.BATCH_OVERDUE: TurnState.FAILED,
        TurnInput.CANCEL: TurnState.CANCELLED,
        TurnInput.CANCEL_IN_BATCH: TurnState.STOPPING,
        TurnInput.SQUEEZE: TurnState.REFUSED,
        TurnInput.SQUEEZE_IN_BATCH: TurnState.STOPPING,
    },
    TurnState.PREEMPTED: {
        TurnInput.DISPATCH: TurnState.RUNNING,
        TurnInput.SWAP_IN: TurnState.RETURNING,
        TurnInput.CANCEL: TurnState.CANCELLED,
        TurnInput.SQUEEZE: TurnState.REFUSED,
    },
    TurnState.STOPPING: {
        TurnInput.BATCH_DONE: TurnState.CANCELLED,
        TurnInput.BATCH_OVERDUE: TurnState.CANCELLED,
    },
    TurnState.FINISHED: {},
    TurnState.FAILED: {},
    TurnState.CANCELLED: {},
    TurnState.REFUSED: {},
}


class KvState(StrEnum):
    """Where a holding stands."""

    NONE = "none"
    """Holds nothing."""
    DEVICE = "device"
    """Holds a leading part of its context on the device, and perhaps a copy on the host."""
    LEAVING = "leaving"
    """Is being copied to the host; its device blocks are freed when the report arrives."""
    HOST = "host"
    """Holds a copy on the host only."""
    RETURNING = "returning"
    """Is being copied back for a waiting turn; its device blocks are taken already."""
    DEVICE_DEAD = "device_dead"
    """Its session closed while the engine computes on it."""
    LEAVING_DEAD = "leaving_dead"
    RETURNING_DEAD = "returning_dead"
    QUARANTINED = "quarantined"
    """A report is overdue: the blocks belong to nobody until it comes."""
    GONE = "gone"


class KvInput(StrEnum):
    """What may happen to a holding."""

    ALLOCATE = "allocate"
    """Its turn is dispatched."""
    EMPTY = "empty"
    """Its last device token went, and no host copy is left."""
    EMPTY_TO_HOST = "empty_to_host"
    """Its last device token went; the host copy stays."""
    DROP_HOST = "drop_host"
    """Its host copy is given up."""
    SWAP_OUT = "swap_out"
    SWAP_IN = "swap_in"
    SWAP_DONE = "swap_done"
    SWAP_DONE_EMPTY = "swap_done_empty"
    """A ``SwapOut`` ended that keeps nothing on the device."""
    SWAP_FAILED = "swap_failed"
    SWAP_OVERDUE = "swap_overdue"
    BATCH_DONE = "batch_done"
    BATCH_OVERDUE = "batch_overdue"
    CLOSE = "close"
    CLOSE_IN_BATCH = "close_in_batch"


IN_COPY = (KvState.LEAVING, KvState.RETURNING)
"""Where a copy that somebody still wants is under way."""

KV_TABLE: dict[KvState, dict[KvInput, KvState]] = {
    KvState.NONE: {
        KvInput.ALLOCATE: KvState.DEVICE,
        KvInput.CLOSE: KvState.GONE,
    },
    KvState.DEVICE: {
        KvInput.ALLOCATE: KvState.DEVICE,
        KvInput.EMPTY: KvState.NONE,
        KvInput.EMPTY_TO_HOST: KvState.HOST,
        KvInput.DROP_HOST: KvState.DEVICE,
        KvInput.SWAP_OUT: KvState.LEAVING,
        KvInput.SWAP_IN: KvState.RETURNING,
        KvInput.BATCH_OVERDUE: KvState.QUARANTINED,
        KvInput.CLOSE: KvState.GONE,
        KvInput.CLOSE_IN_BATCH: KvState.DEVICE_DEAD,
    },
    KvState.LEAVING: {
        KvInput.SWAP_DONE: KvState.DEVICE,
        KvInput.SWAP_DONE_EMPTY: KvState.HOST,
        KvInput.SWAP_FAILED: KvState.DEVICE,
        KvInput.SWAP_OVERDUE: KvState.QUARANTINED,
        KvInput.CLOSE: KvState.LEAVING_DEAD,
    },
    KvState.HOST: {
        KvInput.ALLOCATE: KvState.DEVICE,
        KvInput.SWAP_IN: KvState.RETURNING,
        KvInput.DROP_HOST: KvState.NONE,
        KvInput.CLOSE: KvState.GONE,
    },
    KvState.RETURNING: {
        KvInput.SWAP_DONE: KvState.DEVICE,
        KvInput.SWAP_FAILED: KvState.NONE,
        KvInput.SWAP_OVERDUE: KvState.QUARANTINED,
        KvInput.CLOSE: KvState.RETURNING_DEAD,
    },
    KvState.DEVICE_DEAD: {
        KvInput.BATCH_DONE: KvState.GONE,
        KvInput.BATCH_OVERDUE: KvState.QUARANTINED,
    },
    KvState.LEAVING_DEAD: {
        KvInput.SWAP_DONE: KvState.GONE,
        KvInput.SWAP_FAILED: KvState.GONE,
        KvInput.SWAP_OVERDUE: KvState.QUARANTINED,
    },
    KvState.RETURNING_DEAD: {
        KvInput.SWAP_DONE: KvState.GONE,
        KvInput.SWAP_FAILED: KvState.GONE,
        KvInput.SWAP_OVERDUE: KvState.QUARANTINED,
    },
    KvState.QUARANTINED: {
        KvInput.SWAP_DONE: KvState.GONE,
        KvInput.SWAP_FAILED: KvState.GONE,
        KvInput.BATCH_DONE: KvState.GONE,
    },
    KvState.GONE: {},
}


def next_turn_state(state: TurnState, happened: TurnInput) -> TurnState:
    """Return where a turn in ``state`` goes; raise :class:`InvariantError` where the table has no row."""
    row = TURN_TABLE[state].get(happened)
    if row is None:
        raise InvariantError("INV-2", f"a turn that is {state} cannot take {happened}")
    return row


def next_kv_state(state: KvState, happened: KvInput) -> KvState:
    """Return where a holding in ``state`` goes; raise :class:`InvariantError` where the table has no row."""
    row = KV_TABLE[state].get(happened)
    if row is None:
        raise InvariantError("INV-2", f"a holding that is {state} cannot take {happened}")
    return row
