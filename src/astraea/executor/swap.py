"""Copies between the device pool and the host pool, beside the computation.

On CUDA they run on a stream of their own, from and to pinned memory; on the CPU a thread makes them. A copy is told as
done when its bytes have arrived, and not before. A token range is copied exactly: of the first block only what the
other side does not hold, so that a copy that fails spoils nothing that was valid.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch
from attrs import define, frozen

from astraea.executor.blocks import BlockPool

__all__ = ["Copier", "Move", "StreamCopier", "ThreadCopier", "copy_block", "make_copier", "moves_of"]


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
        """Wait until a copy ends, or so long."""

    def close(self) -> None:
        """Let go of everything; copies under way end first."""


def make_copier(device: BlockPool, host: BlockPool) -> Copier:
    """Return the copier for a device."""
    return StreamCopier(device, host) if device.tensor.is_cuda else ThreadCopier(device, host)


def copy_block(source: torch.Tensor, target: torch.Tensor, move: Move) -> None:
    """Copy one block, or a part of it, from one pool to the other; on a stream where one is current."""
    if move.first_slot or move.end_slot < source.shape[2]:
        slots = slice(move.first_slot, move.end_slot)
        target[move.target, :, slots].copy_(source[move.source, :, slots], non_blocking=True)
    else:
        target[move.target].copy_(source[move.source], non_blocking=True)


class ThreadCopier:
    """Copies in a thread of its own."""

    def __init__(self, device: BlockPool, host: BlockPool) -> None:
        self._device = device
        self._host = host
        self._orders: queue.SimpleQueue[tuple[int, Sequence[Move], bool] | None] = queue.SimpleQueue()
        self._ended: deque[tuple[int, bool]] = deque()
        self._news = threading.Event()
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
        self._news.clear()
        ended: list[tuple[int, bool]] = []
        while self._ended:
            ended.append(self._ended.popleft())
        return ended

    def wait(self, timeout_s: float) -> None:
        """Wait until a copy ends, or so long."""
        self._news.wait(timeout_s)

    def close(self) -> None:
        """End the thread after the copies that were begun."""
        self._orders.put(None)
        self._thread.join()

    def copy(self, moves: Sequence[Move], *, to_host: bool) -> None:
        """Make one copy."""
        pools = self._device.tensor, self._host.tensor
        source, target = pools if to_host else pools[::-1]
        for move in moves:
            copy_block(source, target, move)

    def _work(self) -> None:
        torch.set_num_threads(1)
        while (order := self._orders.get()) is not None:
            op_id, moves, to_host = order
            failed = False
            try:
                with torch.inference_mode():
                    self.copy(moves, to_host=to_host)
            except Exception:  # noqa: BLE001 - whatever went wrong, the report says that it failed
                failed = True
            self._ended.append((op_id, failed))
            self._news.set()


@define(slots=True)
class _OnStream:
    op_id: int
    arrived: torch.cuda.Event | None
    """``None`` where it could not even be begun."""


class StreamCopier:
    """Copies on a CUDA stream of its own."""

    def __init__(self, device: BlockPool, host: BlockPool) -> None:
        self._device = device
        self._host = host
        self._stream = torch.cuda.Stream(device.tensor.device)  # type: ignore[no-untyped-call]
        self._under_way: deque[_OnStream] = deque()

    def begin(self, op_id: int, moves: Sequence[Move], *, to_host: bool) -> None:
        """Put a copy on the stream, behind what the computing stream was given so far."""
        pools = self._device.tensor, self._host.tensor
        source, target = pools if to_host else pools[::-1]
        try:
            self._stream.wait_stream(torch.cuda.current_stream(self._device.tensor.device))
            with torch.cuda.stream(self._stream), torch.inference_mode():
                for move in moves:
                    copy_block(source, target, move)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._stream)
        except RuntimeError:
            self._under_way.append(_OnStream(op_id, None))
        else:
            self._under_way.append(_OnStream(op_id, arrived))

    def has_news(self) -> bool:
        """Return whether the copy that was begun first has ended."""
        if not self._under_way:
            return False
        event = self._under_way[0].arrived
        return event is None or bool(event.query())  # type: ignore[no-untyped-call]

    def reported(self) -> list[tuple[int, bool]]:
        """Return what ended since the last call, in the order in which it was begun."""
        ended = []
        while self.has_news():
            copy = self._under_way.popleft()
            ended.append((copy.op_id, copy.arrived is None))
        return ended

    def wait(self, timeout_s: float) -> None:
        """Wait for the next copy, which a stream ends sooner or later."""
        if self._under_way and (event := self._under_way[0].arrived) is not None:
            event.synchronize()

    def close(self) -> None:
        """Wait for the copies that were begun."""
        self._stream.synchronize()
