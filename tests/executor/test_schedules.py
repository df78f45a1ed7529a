"""Whatever the schedule, each answer is the one that the model's own ``generate`` gives; and every trace passes.

Hypothesis chooses who speaks when, who is cancelled or closes, which copy ends, fails or comes too late, and the limits
of the pools. The dialogues stay the same, so the expected answers are made once.
"""

from __future__ import annotations

import pytest
import torch
from dialogues import DIALOGUES, TURNS, answer, prompt, tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schedule import WEIGHTS, ManualCopier, Schedule, play, random_moves

from astraea.errors import AstraeaError
from astraea.executor import copies, histories
from astraea.executor.holdings import Holdings

KINDS = st.sampled_from([kind for kind, weight in enumerate(WEIGHTS) for _ in range(weight)])


def test_no_expected_token_is_a_near_tie():
    """Else rounding, which differs from batch to batch, could choose another token, and rightly."""
    for dialogue in range(DIALOGUES):
        for turn in range(TURNS):
            begin, told = prompt(dialogue, turn), answer(dialogue, turn)
            with torch.inference_mode():
                logits = tiny().model(torch.tensor([begin + told])).logits[0, len(begin) - 1 : -1]
            best = logits.topk(2).values
            assert (best[:, 0] - best[:, 1]).min() > 1e-3


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=st.lists(st.tuples(KINDS, st.integers(0, 63)), max_size=60), seed=st.integers(0, 2**32))
def test_every_answer_is_what_generate_gives(moves, seed):
    play(moves, seed)


def test_the_same_over_long_seeded_schedules_in_which_everything_happens():
    Schedule.totals.clear()
    for seed in range(60):
        play(random_moves(seed, 90), seed)
    totals = Schedule.totals
    happened = (
        "RunBatch", "SwapOut", "SwapIn", "DropCache", "Preempt", "Refuse", "SwapOverdue", "SwapDone, failed",
        "TurnCancelled", "JobCancelled", "SessionClosed", "ToolReturned", "length", "cancelled", "failed",
    )  # fmt: skip
    assert not [kind for kind in happened if not totals.get(kind)], totals


def _one_block_on(monkeypatch):
    moves_of = copies.moves_of

    def wrong(source, target, span, block_tokens):
        return moves_of(source[1:] + source[:1], target, span, block_tokens)

    monkeypatch.setattr(copies, "moves_of", wrong)


def _reports_too_early(monkeypatch):
    begin = ManualCopier.begin

    def early(self, op_id, moves, *, to_host):
        begin(self, op_id, moves, to_host=to_host)
        self.ended.append((op_id, False))
        self.waiting.clear()

    monkeypatch.setattr(ManualCopier, "begin", early)


def _believes_the_client(monkeypatch):
    monkeypatch.setattr(histories, "common_tokens", lambda history, prompt: min(len(history), len(prompt)))


def _frees_too_late(monkeypatch):
    left = Holdings.left
    monkeypatch.setattr(
        Holdings, "left", lambda self, holding, to, keep, *, failed: left(self, holding, to, to, failed=failed)
    )


def _until_caught():
    for seed in range(150):
        play(random_moves(seed, 90), seed)


@pytest.mark.parametrize("mutant", [_one_block_on, _reports_too_early, _believes_the_client, _frees_too_late])
def test_a_mutant_is_caught(mutant, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises((AssertionError, AstraeaError)):
        _until_caught()
