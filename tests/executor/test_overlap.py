"""The next step is prepared before the tokens of the one that is computed are read, and asks the device for nothing.

A CPU computes nothing by itself, so here it is shown by the order, and by operations that would make CUDA wait.
"""

from __future__ import annotations

import on_device
import pytest
import torch
from dialogues import answer, generated, max_output, prompt, tiny

from astraea.executor import batches
from astraea.executor.ragged import RaggedBatch
from astraea.executor.requests import TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.sampling import Drawn, Sampling
from astraea.executor.steps import Steps
from astraea.policy.limits import Limits


def _asked(dialogue, **changes):
    name = f"d{dialogue}"
    asked = {
        "session_id": name, "job_id": name, "turn_id": name, "prompt": prompt(dialogue, 0),
        "max_output_tokens": max_output(dialogue, 0), "shared_prefix_tokens": 0, **changes,
    }  # fmt: skip
    return TurnRequest(**asked)


def _answers(limits, requests):
    with Engine(tiny(), limits) as engine:
        answers = [engine.submit(request) for request in requests]
        engine.run_until_idle()
    return answers


def _is_prepared_while_computed(monkeypatch):
    happened = []

    def noted(name, function):
        def note(*arguments):
            happened.append(name)
            return function(*arguments)

        return note

    monkeypatch.setattr(RaggedBatch, "advance", noted("advance", RaggedBatch.advance))
    monkeypatch.setattr(Drawn, "told", noted("read", Drawn.told))
    (told,) = _answers(Limits(device_blocks=64), [_asked(0, max_output_tokens=30)])
    assert tuple(told.tokens) == generated(prompt(0, 0), 30)
    # The prompt is a batch of its own; of the decoding each step but the last is followed by another.
    assert happened == ["read", *["advance", "read"] * 28, "read"]


def test_a_step_is_read_when_the_next_one_is_prepared(monkeypatch):
    _is_prepared_while_computed(monkeypatch)


def test_reading_first_would_be_noticed(monkeypatch):
    drawn = batches.draw

    def read_at_once(logits, states):
        found = drawn(logits, states)
        found.told()
        return found

    monkeypatch.setattr(batches, "draw", read_at_once)
    with pytest.raises(AssertionError):
        _is_prepared_while_computed(monkeypatch)


@pytest.mark.parametrize("sampling", [{}, {"logprobs": 2}, on_device.HARDEST])
def test_preparing_the_next_step_asks_the_device_for_nothing(sampling, monkeypatch):
    on_device.nothing_is_waited_for("cpu", monkeypatch, Sampling(**sampling))


def test_a_value_that_is_asked_of_the_device_would_be_noticed(monkeypatch):
    advance = RaggedBatch.advance

    def curious(batch):
        advance(batch)
        assert bool((batch.positions >= 0).all())

    monkeypatch.setattr(RaggedBatch, "advance", curious)
    with pytest.raises(AssertionError):
        on_device.nothing_is_waited_for("cpu", monkeypatch, Sampling())


def test_a_drawn_turn_says_the_same_alone_and_beside_prompts_that_go_on():
    asked = Sampling(**on_device.HARDEST)
    roomy = Limits(device_blocks=64)
    alone = [_answers(roomy, [_asked(i, sampling=asked)])[0].tokens for i in range(4)]
    narrow = Limits(device_blocks=64, step_tokens_max=5, batch_turns_max=3)
    together = _answers(narrow, [_asked(i, sampling=asked) for i in range(4)])
    assert [told.tokens for told in together] == alone


def test_with_tokens_of_another_turn_as_input_the_answers_would_differ(monkeypatch):
    after = Steps.after

    def shifted(self, steps, before, drawn):
        return after(self, steps, before, None if drawn is None else torch.roll(drawn, 1))

    monkeypatch.setattr(Steps, "after", shifted)
    answers = _answers(Limits(device_blocks=64), [_asked(i) for i in range(8)])
    assert any(tuple(told.tokens) != answer(i, 0) for i, told in enumerate(answers))
