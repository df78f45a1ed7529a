"""What the pool and the ragged batches compute is what the model computes on its own, whatever the pieces."""

from __future__ import annotations

import random

import pytest
import torch
from tiny_models import MODELS, model_of

from astraea.errors import InvariantError, UsageError
from astraea.executor.attention import PagedModel
from astraea.executor.blocks import BlockPool
from astraea.executor.families import UnsupportedModelError, kv_shape
from astraea.executor.ragged import RaggedBatch, Row

BLOCK = 4


class Sequences:
    """Some sequences in a pool of shuffled blocks, fed piece by piece."""

    def __init__(self, paged, lengths, seed=1):
        self.paged, self.rng = paged, random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        self.ids = [torch.randint(1, 90, (n,), generator=generator) for n in lengths]
        free = list(range(paged.pool.blocks))
        self.rng.shuffle(free)
        self.tables = [[free.pop() for _ in range(-(-n // BLOCK))] for n in lengths]
        self.done = [0] * len(lengths)

    def feed(self, tokens, steps=1):
        """Compute ``tokens[i]`` tokens of each sequence in each step (0: it is left out); return logits by sequence."""
        indices = [i for i, n in enumerate(tokens) if n]
        rows = [Row(self.tables[i], self.done[i], tokens[i]) for i in indices]
        batch = self.paged.batch(rows)
        order = [indices[i] for i in batch.order]
        for step in range(steps):
            if step:
                batch.advance()
            ids = torch.cat([self.ids[i][self.done[i] : self.done[i] + tokens[i]] for i in order])
            logits = self.paged.forward(batch, ids, batch.last_tokens)
            for i in order:
                self.done[i] += tokens[i]
        return dict(zip(order, logits, strict=True))

    def expected(self, i):
        with torch.inference_mode():
            return self.paged.model(self.ids[i][None, : self.done[i]]).logits[0, -1]

    def check(self, logits, atol):
        for i, row in logits.items():
            torch.testing.assert_close(row, self.expected(i), rtol=0, atol=atol)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_any_pieces_of_many_sequences_give_the_logits_of_the_whole(name, dtype, atol):
    paged = PagedModel(model_of(name, dtype), 60, BLOCK)
    sequences = Sequences(paged, [23, 5, 41, 17, 12])
    sequences.check(sequences.feed([9, 1, 16, 0, 0]), atol)
    sequences.check(sequences.feed([1, 2, 5, 11, 1]), atol)
    sequences.check(sequences.feed([1, 0, 1, 1, 1], steps=4), atol)
    sequences.check(sequences.feed([4, 1, 2, 1, 1], steps=2), atol)
    sequences.check(sequences.feed([1, 0, 10, 0, 0]), atol)


def test_sequences_of_very_different_length_decode_in_groups_of_their_own():
    paged = PagedModel(model_of("llama"), 100, BLOCK)
    sequences = Sequences(paged, [200, 90, 30, 9, 4])
    sequences.feed([199 - 6, 90 - 6, 24, 3, 0])
    batch = RaggedBatch(paged.pool, [Row(t, d, 1) for t, d in zip(sequences.tables, sequences.done, strict=True)])
    assert batch.attention_calls == 5
    sequences.check(sequences.feed([1, 1, 1, 1, 1], steps=4), 1e-3)


def test_a_block_of_another_sequence_is_noticed():
    paged = PagedModel(model_of("llama"), 20, BLOCK)
    sequences = Sequences(paged, [14, 9])
    sequences.feed([13, 8])
    sequences.tables[0][1] = sequences.tables[1][0]
    with pytest.raises(AssertionError, match="not close"):
        sequences.check(sequences.feed([1, 0]), 1e-3)


def test_with_no_batch_given_the_model_answers_generate_as_before():
    model, ids = model_of("llama"), torch.tensor([[5, 6, 7, 8]])
    model.set_attn_implementation("sdpa")
    before = model.generate(ids, max_new_tokens=8, do_sample=False)
    PagedModel(model, 4, BLOCK)
    assert torch.equal(model.generate(ids, max_new_tokens=8, do_sample=False), before)


def test_garbage_in_the_rest_of_a_block_is_not_seen():
    paged = PagedModel(model_of("llama"), 20, BLOCK)
    paged.pool.tensor.fill_(1e4)
    sequences = Sequences(paged, [14, 7])
    sequences.check(sequences.feed([5, 3]), 1e-3)
    sequences.check(sequences.feed([6, 1]), 1e-3)


def test_a_block_that_an_untrusted_writer_leaves_is_clean_when_it_is_taken_again():
    pool = BlockPool(kv_shape(model_of("llama")), 3, BLOCK)
    taken = pool.take(2)
    pool.tensor[taken] = float("nan")
    pool.give_back(taken, trusted=False)
    assert pool.free_blocks == 3
    assert torch.isfinite(pool.tensor).all()


def test_more_blocks_than_are_free_are_never_given():
    pool = BlockPool(kv_shape(model_of("llama")), 3, BLOCK)
    assert sorted(pool.take(2) + pool.take(1) + pool.take(0)) == [0, 1, 2]
    with pytest.raises(InvariantError, match="INV-1: 1 blocks are wanted and 0 are free"):
        pool.take(1)


def test_a_pool_that_no_memory_holds_is_refused_with_its_size():
    with pytest.raises(UsageError, match=r"a KV pool of 1099511627776 blocks takes .* GiB on cpu"):
        BlockPool(kv_shape(model_of("llama")), 2**40, BLOCK)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": "gpt2"}, "models of type 'gpt2' are not computed here, only gemma3_text, llama"),
        ({"attn_logit_softcapping": 50.0}, "caps its attention scores"),
        ({"use_bidirectional_attention": True}, "attends to later tokens"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "embeddings of type 'dynamic' are not computed"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "longrope"}, "sliding_attention": {}}},
            "embeddings of type 'longrope' are not computed here, only default, linear, llama3, yarn",
        ),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(changes, complaint):
    model = MODELS["gemma3"]()
    for name, value in changes.items():
        setattr(model.config, name, value)
    with pytest.raises(UnsupportedModelError, match=complaint):
        PagedModel(model, 4, BLOCK)
