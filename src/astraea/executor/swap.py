"""Copies between the device pool and the host pool, beside the computation.

On CUDA they run on a stream of their own, from and to pinned memory; on the CPU a thread makes them. A copy is told as
done when its bytes have arrived, and not before. A token range is copied exactly: of the first block only what the
other side does not hold, so that a copy that fails spoils nothing that was valid.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from attrs import define, frozen

from astraea.errors import AstraeaError
from astraea.executor.blocks import BlockPool

__all__ = ["Copier", "Move", "StreamCopier", "ThreadCopier", "copy_all", "make_copier", "moves_of"]

_LOOK_S = 0.0005
"""How often to look for the end of a copy that tells nobody."""


@frozen(slots=True)
class Move:
    """The copy of one block."""

    source: int
    target: int
    first_slot: int
    """Where in the block it begins."""
    end_slot: int
    """Where in the block it ends; what lies beyond may be what a failed copy left."""


def moves_of(source: Sequence[int], target: Sequence[int], span: tuple[int, int], block_tokens: int) -> list[Move]:
    """Return the moves that copy tokens ``[span[0], span[1])`` between two tables of one context."""
    begin, end = span
    return [
        Move(source[i], target[i], max(0, begin - i * block_tokens), min(block_tokens, end - i * block_tokens))
        for i in range(begin // block_tokens, -(-end // block_tokens))
    ]


class Copier(Protocol):
    """Makes copies in the order in which they are begun."""

    def begin(self, op_id: int, moves: Sequence[Move], *, to_host: bool) -> None:
        """Begin a copy; it must not be reported before its bytes have arrived."""

    def has_news(self) -> bool:
        """Return whether a copy ended that was not reported yet."""

    def reported(self) -> list[tuple[int, bool]]:
        """Return the copies that ended since the last call, each with whether it failed."""

    def wait(self, timeout_s: float) -> None:
        """Wait until a copy ends, the ``news`` that it was made with are set, or so long."""

    def close(self) -> None:
        """Let go of everything; copies under way end first."""


def make_copier(device: BlockPool, host: BlockPool, news: threading.Event) -> Copier:
    """Return the copier for a device; ``news`` is for its maker to set and clear where it waits for more than copies.

    A copier may set it where a copy ends.
    """
    return (StreamCopier if device.tensor.is_cuda else ThreadCopier)(device, host, news)


def copy_all(copier: Copier, news: threading.Event, moves: Sequence[Move], *, to_host: bool) -> None:
    """Make one copy and wait for it, where no other is under way; raise :class:`AstraeaError` where it fails."""
    copier.begin(0, moves, to_host=to_host)
    while not (ended := copier.reported()):
        copier.wait(1.0)
        news.clear()
    if any(failed for _, failed in ended):
        raise AstraeaError(f"a copy of {len(moves)} blocks failed")


def _slots(move: Move, source: BlockPool) -> slice | None:
    """Return which slots of a block are copied, ``None`` for all."""
    whole = not move.first_slot and move.end_slot == source.block_tokens
    return None if whole else slice(move.first_slot, move.end_slot)


class ThreadCopier:
    """Copies in a thread of its own."""

    def __init__(self, device: BlockPool, host: BlockPool, news: threading.Event) -> None:
        self._device = device
        self._host = host
        self._news = news
        self._orders: queue.SimpleQueue[tuple[int, Sequence[Move], bool] | None] = queue.SimpleQueue()
        self._ended: deque[tuple[int, bool]] = deque()
        self._thread = threading.Thread(target=self._work, name="astraea-swap", daemon=True)
        self._thread.start()

    def begin(self, op_id: int, moves: Sequence[Move], *, to_host: bool) -> None:
        """Put a copy at the end of the queue."""
        self._orders.put((op_id, moves, to_host))

    def has_news(self) -> bool:
        """Return whether something ended that was not reported."""
        return bool(self._ended)

    def reported(self) -> list[tuple[int, bool]]:
        """Return what ended since the last call."""
        ended: list[tuple[int, bool]] = []
        while self._ended:
            ended.append(self._ended.popleft())
        return ended

    def wait(self, timeout_s: float) -> None:
        """Wait for the news, which the end of a copy sets too, or so long."""
        self._news.wait(timeout_s)

    def close(self) -> None:
        """End the thread after the copies that were begun."""
        self._orders.put(None)
        self._thread.join()

    def copy(self, moves: Sequence[Move], *, to_host: bool) -> None:
        """Make one copy."""
        pools = (self._device, self._host) if to_host else (self._host, self._device)
        source, target = map(_bytes, pools)
        for move in moves:
            slots = _slots(move, pools[0])
            if slots is None:
                target[move.target] = source[move.source]
            else:
                target[move.target, :, slots] = source[move.source, :, slots]

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            op_id, moves, to_host = order
            failed = False
            try:
                self.copy(moves, to_host=to_host)
            except Exception:  # noqa: BLE001 - whatever went wrong, the report says that it failed
                failed = True
            self._ended.append((op_id, failed))
            self._news.set()


def _bytes(pool: BlockPool) -> np.ndarray[Any, Any]:
    """Return a pool's memory as bytes. torch itself would copy in the threads that compute meanwhile."""
    held: np.ndarray[Any, Any] = pool.tensor.view(torch.uint8).numpy()
    return held


@define(slots=True)
class _OnStream:
    op_id: int
    arrived: torch.cuda.Event
    failed: bool
    """It could not be begun whole; what was begun of it may still be writing until ``arrived``."""


class StreamCopier:
    """Copies on a CUDA stream of its own."""

    def __init__(self, device: BlockPool, host: BlockPool, news: threading.Event) -> None:
        self._device = device
        self._host = host
        self._news = news
        self._stream = torch.cuda.Stream(device.tensor.device)  # type: ignore[no-untyped-call]
        self._under_way: deque[_OnStream] = deque()

    def begin(self, op_id: int, moves: Sequence[Move], *, to_host: bool) -> None:
        """Put a copy on the stream, behind what the computing stream was given so far."""
        pools = (self._device, self._host) if to_host else (self._host, self._device)
        source, target = (pool.tensor for pool in pools)
        self._stream.wait_stream(torch.cuda.current_stream(self._device.tensor.device))
        failed = False
        try:
            with torch.cuda.stream(self._stream), torch.inference_mode():
                for move in moves:
                    slots = _slots(move, pools[0])
                    if slots is None:
                        target[move.target].copy_(source[move.source], non_blocking=True)
                    else:
                        target[move.target, :, slots].copy_(source[move.source, :, slots], non_blocking=True)
        except RuntimeError:
            failed = True
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(self._stream)
        self._under_way.append(_OnStream(op_id, arrived, failed))

    def has_news(self) -> bool:
        """Return whether the copy that was begun first has ended."""
        return bool(self._under_way) and bool(self._under_way[0].arrived.query())  # type: ignore[no-untyped-call]

    def reported(self) -> list[tuple[int, bool]]:
        """Return what ended since the last call, in the order in which it was begun."""
        ended = []
        while self.has_news():
            copy = self._under_way.popleft()
            ended.append((copy.op_id, copy.failed))
        return ended

    def wait(self, timeout_s: float) -> None:
        """Look for the end of the next copy again and again, for a stream tells nobody."""
        until_s = time.monotonic() + timeout_s
        while not self.has_news() and (left_s := until_s - time.monotonic()) > 0:
            if self._news.wait(min(left_s, _LOOK_S)):
                return

    def close(self) -> None:
        """Wait for the copies that were begun."""
        self._stream.synchronize()
