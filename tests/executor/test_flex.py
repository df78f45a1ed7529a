"""Decoding by compiled FlexAttention gives what SDPA on gathered blocks gives; it is skipped without a compiler."""

from __future__ import annotations

import copy
import shutil

import on_device
import pytest
import torch
from dialogues import tiny

from astraea.errors import UsageError
from astraea.executor.attention import PagedModel
from astraea.executor.flex import FlexDecoding
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.toy import toy_model

HEADS, SCALE = 4, 64**-0.5

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="nothing can be compiled without g++"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # torch's own compiler raises it
]


def test_answers_are_those_of_gathered_blocks_for_turns_alone_and_together(monkeypatch):
    calls, attend = [], FlexDecoding.attend

    def counted(self, query, rows, positions, scale):
        calls.append(len(rows))
        return attend(self, query, rows, positions, scale)

    monkeypatch.setattr(FlexDecoding, "attend", counted)
    on_device.flex_says_the_same("cpu")
    assert {1, 2, 5} <= set(calls)


def test_a_token_that_is_not_attended_to_would_be_noticed(monkeypatch):
    attend = FlexDecoding.attend

    def short(self, query, rows, positions, scale):
        return attend(self, query, rows, (positions - 1).clamp(min=0), scale)

    monkeypatch.setattr(FlexDecoding, "attend", short)
    with pytest.raises(AssertionError):
        on_device.flex_says_the_same("cpu")


def test_turns_of_any_length_attend_in_one_call():
    paged = PagedModel(toy_model(), 40, 16, flex=True)
    rows = [Row(range(10 * i, 10 * i + 10), start, 1) for i, start in enumerate((150, 60, 20, 0))]
    assert paged.batch(rows).attention_calls == 1
    assert RaggedBatch(paged.pool, rows).attention_calls == 4


def test_more_turns_than_there_were_before_find_room():
    flex = FlexDecoding(PagedModel(toy_model(), 100, 16).pool, HEADS, SCALE)
    with torch.inference_mode():
        attended = flex.attend(
            torch.randn(40, HEADS, 1, 64), torch.arange(40)[:, None] * 4, torch.zeros(40, dtype=torch.long), SCALE
        )
    assert torch.equal(attended, torch.zeros(40, HEADS, 1, 64)), "an empty pool holds zeros"


def test_a_number_type_that_it_does_not_know_is_refused_in_a_sentence():
    doubled = copy.deepcopy(tiny().model).double()
    with pytest.raises(UsageError, match="FlexAttention cannot be compiled here"):
        PagedModel(doubled, 4, 4, flex=True)
