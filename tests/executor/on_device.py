"""What must hold on any device: the bodies of tests that run on the CPU here, and on CUDA in tests/gpu."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import threading

import torch
from dialogues import answer, generated, max_output, prompt, tiny
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from astraea.executor import batches
from astraea.executor.blocks import BlockPool
from astraea.executor.families import KvShape
from astraea.executor.model import LoadedModel
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.sampling import Sampling
from astraea.executor.steps import Steps
from astraea.executor.swap import make_copier, moves_of
from astraea.executor.toy import toy_model
from astraea.policy.limits import EngineCosts, Limits

BLOCK = 4
HARDEST = {
    "temperature": 0.8, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "seed": 3, "logprobs": 2, "repetition_penalty": 1.2,
    "presence_penalty": 0.1, "frequency_penalty": 0.1,
}  # fmt: skip
"""All that can be asked of sampling."""
_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero", "aten::equal"}


def _shape(device, dtype=torch.float64, window=None):
    return KvShape(layers=2, kv_heads=2, head_dim=8, dtype=dtype, device=torch.device(device), windows=(None, window))


def attention_is_sdpa(device):
    """Pieces of prompts and decoding turns of unequal length, over shuffled blocks, against plain SDPA in float64."""
    generator = torch.Generator().manual_seed(0)
    lengths, fed, heads, window = [21, 13, 34, 9], [1, 1, 7, 9], 4, 6
    pool = BlockPool(_shape(device, window=window), 40, BLOCK)
    free = torch.randperm(40, generator=generator).tolist()
    tables = [[free.pop() for _ in range(-(-length // BLOCK))] for length in lengths]
    for layer, seen in enumerate((None, window)):
        keys, values, queries = (
            [torch.randn(n, count, 8, generator=generator, dtype=torch.float64).to(device) for n in lengths]
            for count in (2, 2, heads)
        )

        def attend(rows, spans, layer=layer, keys=keys, values=values, queries=queries):
            batch = RaggedBatch(pool, rows)
            spans = [spans[i] for i in batch.order]

            def of(parts):
                return torch.cat([parts[i][begin:end] for i, begin, end in spans]).transpose(0, 1)[None]

            return spans, batch.attend(layer, of(queries), of(keys), of(values), None)[0]

        starts = [length - count for length, count in zip(lengths, fed, strict=True)]
        held = [i for i, start in enumerate(starts) if start]
        attend([Row(tables[i], 0, starts[i]) for i in held], [(i, 0, starts[i]) for i in held])
        rows = [Row(table, start, count) for table, start, count in zip(tables, starts, fed, strict=True)]
        spans, attended = attend(rows, [(i, starts[i], lengths[i]) for i in range(4)])
        done = 0
        for i, begin, end in spans:
            at = torch.arange(begin, end, device=device)[:, None]
            other = torch.arange(end, device=device)
            mask = (other <= at) & (other > at - (seen or end))
            expected = _plain(queries[i][begin:end], keys[i], values[i], mask)
            torch.testing.assert_close(attended[done : done + end - begin], expected, rtol=0, atol=1e-12)
            done += end - begin


def _plain(queries, keys, values, mask):
    heads_first = (part.transpose(0, 1)[None] for part in (queries, keys, values))
    return scaled_dot_product_attention(*heads_first, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)


def swap_is_bit_exact(device, dtype):
    """Any bits go out and come back, to other blocks, in two copies of which one begins within a block."""
    shape = _shape(device, dtype)
    pool, host = BlockPool(shape, 12, BLOCK), BlockPool(shape, 12, BLOCK, pinned=True)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    ends = torch.iinfo(bits)
    noise = torch.randint(ends.min, ends.max, pool.tensor.shape, generator=torch.Generator().manual_seed(0), dtype=bits)
    pool.tensor.view(bits).copy_(noise)  # NaNs of every kind among them
    out, away, back = [3, 7, 0, 11], [5, 2, 9, 1], [8, 4, 10, 6]
    copier = make_copier(pool, host, threading.Event())
    try:
        copier.begin(1, moves_of(out, away, (0, 6), BLOCK), to_host=True)
        copier.begin(2, moves_of(out, away, (6, 15), BLOCK), to_host=True)
        copier.begin(3, moves_of(away, back, (0, 15), BLOCK), to_host=False)
        reported = []
        while len(reported) < 3:
            copier.wait(1.0)
            reported += copier.reported()
    finally:
        copier.close()
    assert reported == [(1, False), (2, False), (3, False)]
    after = pool.tensor.view(bits).cpu()
    for i in range(3):
        assert torch.equal(after[back[i]], noise[out[i]])
    assert torch.equal(after[back[3]][:, :3], noise[out[3]][:, :3])
    assert torch.equal(after[back[3]][:, 3:], noise[back[3]][:, 3:]), "what lies beyond the span is left alone"
    untouched = [i for i in range(12) if i not in back]
    assert torch.equal(after[untouched], noise[untouched])


def answers_are_those_of_generate(device):
    """Three rounds of dialogues whose caches do not fit side by side, and so go to the host and come back."""
    loaded = LoadedModel(copy.deepcopy(tiny().model).to(device), None, "tiny", "")
    limits = Limits(
        device_blocks=30, host_blocks=200, block_tokens=BLOCK, costs=EngineCosts(swap_ns_per_token=1)
    )  # fmt: skip
    histories = {f"s{i}": list(prompt(i, 0)[:20]) for i in range(8)}
    swapped = 0
    with Engine(loaded, limits) as engine:
        begin = engine._copies.begin  # noqa: SLF001 - to count

        def counted(order):
            nonlocal swapped
            swapped += 1
            begin(order)

        engine._copies.begin = counted  # noqa: SLF001
        for turn in range(3):
            answers = {
                name: engine.submit(
                    TurnRequest(
                        session_id=name, job_id=name, turn_id=f"{name}.{turn}", prompt=tokens, max_output_tokens=6,
                        tool_of=lambda _: "tool",
                    )
                )
                for name, tokens in histories.items()
            }  # fmt: skip
            engine.run_until_idle()
            for name, told in answers.items():
                assert told.finish is Finish.LENGTH, told.error
                assert tuple(told.tokens) == generated(tuple(histories[name]), 6)
                histories[name] += [*told.tokens, 5, 6, 7]
    assert swapped > 4


class _NoReading(TorchDispatchMode):
    """Fails an operation that reads a value, for which CUDA would have to be waited for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function._schema.name not in _WAITS, f"{function} waits for the device"  # noqa: SLF001 - its one name
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def _no_waiting(device):
    if device == "cpu":
        with _NoReading():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def nothing_is_waited_for(device, monkeypatch, asked):
    """Draw and prepare under watch, with prompts that go on in pieces beside turns that decode."""
    loaded = LoadedModel(copy.deepcopy(tiny().model).to(device), None, "tiny", "")
    prepared = [0]

    def watched(function):
        def watch(*arguments):
            prepared[0] += 1
            with _no_waiting(device):
                return function(*arguments)

        return watch

    monkeypatch.setattr(batches, "draw", watched(batches.draw))
    monkeypatch.setattr(Steps, "after", watched(Steps.after))
    monkeypatch.setattr(RaggedBatch, "advance", watched(RaggedBatch.advance))
    with Engine(loaded, Limits(device_blocks=64, step_tokens_max=9)) as engine:
        answers = [
            engine.submit(
                TurnRequest(
                    session_id=f"s{i}", job_id=f"j{i}", turn_id=f"t{i}", prompt=prompt(i, 0), shared_prefix_tokens=0,
                    max_output_tokens=max_output(i, 0), sampling=asked if i % 2 else Sampling(),
                )
            )
            for i in range(8)
        ]  # fmt: skip
        engine.run_until_idle()
    assert prepared[0] > 50
    for i, told in enumerate(answers):
        assert told.finish is Finish.LENGTH, told.error
        assert i % 2 or tuple(told.tokens) == answer(i, 0)


@functools.cache
def _toy(device):
    return LoadedModel(toy_model().to(device), None, "toy", "")


def toy_answers(device, *, flex):
    """What the toy says to eight prompts of very different length, whose pieces are computed beside decoding turns."""
    dice = random.Random(0)
    with Engine(_toy(device), Limits(device_blocks=100, step_tokens_max=48), flex=flex) as engine:
        asked = [
            engine.submit(
                TurnRequest(
                    session_id=f"s{i}", job_id=f"j{i}", turn_id=f"t{i}", shared_prefix_tokens=0,
                    max_output_tokens=3 + 3 * i,
                    prompt=[dice.randrange(3, 2_048) for _ in range((1, 200, 31, 16, 90, 7, 47, 150)[i])],
                    stop_tokens=frozenset(),
                )
            )
            for i in range(8)
        ]  # fmt: skip
        engine.run_until_idle()
    return [(told.finish, tuple(told.tokens)) for told in asked]


def flex_says_the_same(device):
    """Compiled FlexAttention over the pool gives the tokens that SDPA over gathered blocks gives."""
    expected = toy_answers(device, flex=False)
    assert {finish for finish, _ in expected} == {Finish.LENGTH}
    assert toy_answers(device, flex=True) == expected
