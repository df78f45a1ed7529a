"""Copies in a thread of their own, what a failed one leaves behind, and what a decode step reads."""

from __future__ import annotations

import threading

import pytest
import torch
from tiny_models import model_of

from astraea.errors import InvariantError
from astraea.events import SharedPrefix
from astraea.executor import ragged
from astraea.executor.attention import PagedModel
from astraea.executor.blocks import BlockPool
from astraea.executor.families import kv_shape
from astraea.executor.holdings import Holdings
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.swap import ThreadCopier, moves_of

BLOCK = 4


def _pools():
    shape = kv_shape(model_of("llama"))
    return BlockPool(shape, 8, BLOCK), BlockPool(shape, 8, BLOCK, pinned=True)


class Gated(ThreadCopier):
    """Copies only when the gate is open; order 13 goes wrong."""

    def __init__(self, device, host):
        self.gate, self.copied_in = threading.Event(), []
        super().__init__(device, host, threading.Event())

    def copy(self, moves, *, to_host):
        self.gate.wait()
        self.copied_in.append(threading.current_thread().name)
        super().copy(moves, to_host=to_host)


def test_a_copy_is_reported_once_its_bytes_have_arrived_and_not_before():
    device, host = _pools()
    device.tensor.fill_(1)
    copier = Gated(device, host)
    try:
        copier.begin(1, moves_of([0], [3], (0, 4), BLOCK), to_host=True)
        copier.wait(0.02)
        assert not copier.has_news()
        assert copier.reported() == []
        copier.gate.set()
        while not copier.has_news():
            copier.wait(1.0)
        assert (host.tensor[3] == 1).all()
        assert copier.reported() == [(1, False)]
        assert copier.reported() == []
        assert copier.copied_in == ["astraea-swap"]
    finally:
        copier.gate.set()
        copier.close()


def test_a_copy_that_goes_wrong_is_reported_as_failed_and_the_next_one_is_made():
    device, host = _pools()
    device.tensor.fill_(1)
    copier = ThreadCopier(device, host, threading.Event())
    copier.begin(1, moves_of([99], [0], (0, 4), BLOCK), to_host=True)
    copier.begin(2, moves_of([1], [2], (0, 4), BLOCK), to_host=True)
    copier.close()
    assert copier.reported() == [(1, True), (2, False)]
    assert (host.tensor[2] == 1).all()


def test_close_makes_the_copies_that_were_begun_and_ends_the_thread():
    device, host = _pools()
    threads = threading.active_count()
    copier = ThreadCopier(device, host, threading.Event())
    assert threading.active_count() == threads + 1
    for op_id in range(50):
        copier.begin(op_id, moves_of([0], [1], (0, 4), BLOCK), to_host=True)
    copier.close()
    assert threading.active_count() == threads
    assert copier.reported() == [(op_id, False) for op_id in range(50)]


# What failed copies leave behind


def _copy_in_that_fails():
    """A context on the host comes back, and the copy spoils the blocks that it was to fill."""
    device, host = _pools()
    holdings = Holdings(device, host)
    holding = holdings.of("ann", "s", "c")
    holdings.fit_host(holding, 10)
    holding.host_tokens = 10
    holdings.bind(holding, None, "copy")
    holdings.hold(holding, 10)
    device.tensor[holding.blocks] = float("nan")
    holdings.returned(holding, 10, "copy", failed=True)
    return device, holding


def _spoilt_blocks_are_clean_and_free():
    device, holding = _copy_in_that_fails()
    assert device.free_blocks == 8
    assert torch.isfinite(device.tensor).all()
    assert (holding.resident_tokens, holding.host_tokens, holding.table) == (0, 0, [])


def test_the_blocks_of_a_copy_that_failed_are_free_and_clean():
    _spoilt_blocks_are_clean_and_free()


def test_spoilt_blocks_that_are_not_cleared_would_be_noticed(monkeypatch):
    give_back = BlockPool.give_back
    monkeypatch.setattr(BlockPool, "give_back", lambda pool, blocks, **_: give_back(pool, blocks))
    with pytest.raises(AssertionError):
        _spoilt_blocks_are_clean_and_free()


def test_failed_copies_that_are_trusted_would_be_noticed(monkeypatch):
    returned = Holdings.returned
    monkeypatch.setattr(Holdings, "returned", lambda self, *arguments, failed: returned(self, *arguments, failed=False))
    with pytest.raises(AssertionError):
        _spoilt_blocks_are_clean_and_free()


def test_what_a_failed_copy_left_behind_the_valid_tokens_on_the_host_does_not_come_back():
    device, host = _pools()
    host.tensor[0, :, 2:] = float("nan")  # two tokens are valid
    copier = ThreadCopier(device, host, threading.Event())
    copier.begin(1, moves_of([0], [5], (0, 2), BLOCK), to_host=False)
    copier.close()
    assert torch.isfinite(device.tensor).all()


def test_a_prefix_of_another_length_under_the_same_name_is_a_broken_claim():
    holdings = Holdings(*_pools())
    holdings.bind(holdings.of("ann", "s", "c"), SharedPrefix("p", 4), "turn")
    with pytest.raises(InvariantError, match="INV-3"):
        holdings.bind(holdings.of("ann", "s", "d"), SharedPrefix("p", 8), "turn")


# What a decode step costs


def _elements_read(blocks, context, monkeypatch):
    """How many numbers of the pool one decode step gathers, in all layers."""
    paged = PagedModel(model_of("llama"), blocks, BLOCK)
    read, gather = [], RaggedBatch._gather  # noqa: SLF001 - the one place that reads the pool

    def counted(self, group, layer, turns, tokens):
        keys, values = gather(self, group, layer, turns, tokens)
        read.append(keys.numel() + values.numel())
        assert group.rows.shape[1] <= turns * -(-tokens // BLOCK)
        return keys, values

    monkeypatch.setattr(ragged.RaggedBatch, "_gather", counted)
    table = list(range(-(-(context + 1) // BLOCK)))
    batch = RaggedBatch(paged.pool, [Row(table, context, 1)])
    paged.forward(batch, torch.tensor([1]), batch.last_tokens)
    monkeypatch.undo()
    return sum(read)


def test_a_decode_step_reads_its_context_and_no_more_however_large_the_pool(monkeypatch):
    small, large = (_elements_read(blocks, 63, monkeypatch) for blocks in (20, 2_000))
    assert small == large
    assert _elements_read(2_000, 127, monkeypatch) == 2 * small
    assert _elements_read(2_000, 255, monkeypatch) == 4 * small
