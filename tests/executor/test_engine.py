"""What clients see of the engine: tokens as they come, cancelled turns, and that what goes wrong stays where it was."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from dialogues import answer, max_output, prompt, tiny

from astraea.executor.attention import PagedModel
from astraea.executor.histories import Histories
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.toy import toy_model, toy_tokenizer
from astraea.policy.limits import Limits

ROOMY = Limits(device_blocks=64)


def _ask(engine, dialogue, **changes):
    name = f"d{dialogue}"
    return engine.submit(
        TurnRequest(
            **{
                "session_id": name, "job_id": name, "turn_id": name, "prompt": prompt(dialogue, 0),
                "max_output_tokens": max_output(dialogue, 0), **changes,
            }
        )
    )  # fmt: skip


def _is_right(told, dialogue):
    return told.finish is Finish.LENGTH and tuple(told.tokens) == answer(dialogue, 0)


# Tokens as they come


def test_each_token_is_told_once_in_order_and_before_the_turn_ends():
    told = []
    with Engine(tiny(), ROOMY) as engine:
        answers = [_ask(engine, i, on_token=lambda token, i=i: told.append((i, token.token))) for i in range(8)]
        engine.run_until_idle()
    for i, one in enumerate(answers):
        assert _is_right(one, i)
        assert [token for j, token in told if j == i] == one.tokens


def test_the_pieces_of_text_are_the_answers_text_and_a_stop_string_ends_the_turn():
    loaded = LoadedModel(toy_model(), toy_tokenizer(), "toy", "")
    asked = {"session_id": "s", "job_id": "j", "turn_id": "t", "prompt": [5, 6, 7], "max_output_tokens": 40}
    with Engine(loaded, ROOMY) as engine:
        whole = engine.submit(TurnRequest(**asked, text=True, stop_tokens=frozenset()))
        engine.run_until_idle()
    stop, told = whole.text[11:14], []
    with Engine(loaded, ROOMY) as engine:
        cut = engine.submit(TurnRequest(**asked, stop=(stop,), stop_tokens=frozenset(), on_token=told.append))
        engine.run_until_idle()
    assert cut.finish is Finish.STOP
    assert cut.text == whole.text[: whole.text.index(stop)] == "".join(token.text for token in told)
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert len(cut.tokens) < len(whole.tokens)


# Cancelling


def _cancelled_after_three(limits=ROOMY):
    """Another thread cancels a turn of forty tokens while its third is told."""
    with Engine(tiny(), limits) as engine:

        def told(_token):
            if len(long.tokens) == 3:
                thread = threading.Thread(target=engine.cancel, args=("d0",))
                thread.start()
                thread.join()

        long = _ask(engine, 0, max_output_tokens=40, on_token=told)
        mate = _ask(engine, 6)
        engine.run_until_idle()
        free = engine.holdings.device.free_blocks + len(engine.holdings.of("default", "d0", "main").blocks)
        assert free + len(engine.holdings.of("default", "d6", "main").blocks) == limits.device_blocks
    assert long.finish is Finish.CANCELLED
    assert len(long.tokens) == 3
    assert _is_right(mate, 6)


def test_a_turn_is_cancelled_within_the_step_that_is_being_computed():
    _cancelled_after_three()


def test_an_engine_that_hears_nothing_during_a_batch_would_be_noticed(monkeypatch):
    monkeypatch.setattr(Engine, "_is_interrupted", lambda _engine: False)
    with pytest.raises(AssertionError):
        _cancelled_after_three()


# What goes wrong


def test_a_callback_that_raises_fails_its_own_turn():
    def raises(_token):
        raise ValueError("the client has left")

    with Engine(tiny(), ROOMY) as engine:
        answers = [_ask(engine, i, on_token=raises if i == 2 else None) for i in range(8)]
        engine.run_until_idle()
    assert answers[2].finish is Finish.FAILED
    assert answers[2].error == "ValueError: the client has left"
    assert all(_is_right(one, i) for i, one in enumerate(answers) if i != 2)


class Failing:
    """The model's forward pass, which goes wrong in some calls."""

    def __init__(self, monkeypatch, wrong):
        self.calls, self.wrong, self._right = 0, wrong, PagedModel.forward
        monkeypatch.setattr(PagedModel, "forward", lambda *arguments: self._forward(*arguments))  # noqa: PLW0108 - a function binds

    def _forward(self, model, batch, tokens, sampling):
        self.calls += 1
        self.wrong(self.calls, tokens)
        return self._right(model, batch, tokens, sampling)


def test_a_failure_in_one_batch_fails_the_turns_of_that_batch_and_no_other(monkeypatch):
    def wrong(call, _tokens):
        if call == 2:
            raise RuntimeError("a kernel failed")

    limits = Limits(device_blocks=64, batch_turns_max=2)
    Failing(monkeypatch, wrong)
    with Engine(tiny(), limits) as engine:
        answers = [_ask(engine, i) for i in range(8)]
        engine.run_until_idle()
        again = _ask(engine, 0, session_id="later", job_id="later", turn_id="later")
        engine.run_until_idle()
    failed = [one for one in answers if one.finish is Finish.FAILED]
    assert 1 <= len(failed) <= limits.batch_turns_max
    assert {one.error for one in failed} == {"RuntimeError: a kernel failed"}
    assert all(_is_right(one, i) for i, one in enumerate(answers) if one not in failed)
    assert _is_right(again, 0)


def test_logits_that_are_not_numbers_fail_their_own_turn(monkeypatch):
    forward, spoilt_turns = PagedModel.forward, []

    def spoilt(model, batch, tokens, sampling):
        logits = forward(model, batch, tokens, sampling).clone()
        if len(logits) > 2 and not spoilt_turns:
            spoilt_turns.append(1)
            logits[1] = float("nan")
        return logits

    monkeypatch.setattr(PagedModel, "forward", spoilt)
    with Engine(tiny(), ROOMY) as engine:
        answers = [_ask(engine, i, max_output_tokens=max(3, max_output(i, 0))) for i in range(8)]
        engine.run_until_idle()
    failed = [i for i, one in enumerate(answers) if one.finish is Finish.FAILED]
    assert len(failed) == len(spoilt_turns) == 1
    assert answers[failed[0]].error == "the model's logits are not finite"
    assert all(tuple(one.tokens[: max_output(i, 0)]) == answer(i, 0)[: len(one.tokens)]
               for i, one in enumerate(answers) if i not in failed)  # fmt: skip


# Memory that runs out


def _no_memory_on_cuda(_call):
    raise torch.OutOfMemoryError("no memory")


def _no_memory_on_cpu(_call):
    torch.empty(2**55, dtype=torch.uint8)


@pytest.mark.parametrize("run_out", [_no_memory_on_cuda, _no_memory_on_cpu])
def test_a_step_that_finds_no_memory_is_computed_in_two_halves_with_the_same_tokens(run_out, monkeypatch):
    whole = [0]

    def wrong(call, tokens):
        if len(tokens) > 1 and call > whole[-1] + 2:  # a half comes through
            whole.append(call)
            run_out(call)

    Failing(monkeypatch, wrong)
    with Engine(tiny(), Limits(device_blocks=64, step_tokens_max=36)) as engine:
        answers = [_ask(engine, i) for i in range(8)]
        engine.run_until_idle()
    assert len(whole) > 5
    assert all(_is_right(one, i) for i, one in enumerate(answers)), [one.error for one in answers]


def test_a_step_that_finds_no_memory_in_halves_either_fails_its_turns_and_the_engine_goes_on(monkeypatch):
    def wrong(call, _tokens):
        if call <= 2:
            _no_memory_on_cpu(call)

    failing = Failing(monkeypatch, wrong)
    with Engine(tiny(), ROOMY) as engine:
        first = [_ask(engine, i) for i in range(4)]
        engine.run_until_idle()
        assert failing.calls == 2
        later = [_ask(engine, i) for i in range(4, 8)]
        engine.run_until_idle()
    assert all(one.finish is Finish.FAILED and "can't allocate memory" in one.error for one in first)
    assert all(_is_right(one, i) for i, one in enumerate(later, start=4))


# A thousand requests


def _tensors():
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def _requests(engine, begin, count):
    """Ask for so many turns, eight sessions at a time, each of which waits for a tool until it is closed."""
    for number in range(begin, begin + count):
        name, dialogue = f"n{number}", (0, 1, 6, 7)[number % 4]
        tokens = prompt(dialogue, 0)[:20]
        _ask(
            engine, dialogue, session_id=name, job_id=name, turn_id=name, prompt=tokens,
            max_output_tokens=1 + number % 4, tool_of=lambda _: "tool",
        )  # fmt: skip
        if number % 8 == 7:
            engine.run_until_idle()
            for other in range(number - 7, number + 1):
                engine.close_session("default", f"n{other}")
    engine.run_until_idle()


def _state(engine):
    holdings = engine.holdings
    shared = sum(len(prefix.blocks) for prefix in holdings.prefixes.values())
    histories = engine._work._histories  # noqa: SLF001 - where a leak would hide
    return (
        (holdings.device.free_blocks + shared, holdings.host.free_blocks, holdings.count),
        (engine.live_turns, histories.sessions),
        (threading.active_count(), _tensors()),
    )


def _ask_one():
    """What a first run makes once for the process is made."""
    with Engine(tiny(), ROOMY) as engine:
        _ask(engine, 0)
        engine.run_until_idle()


def _a_thousand_requests():
    with Engine(tiny(), Limits(device_blocks=24, host_blocks=48, block_tokens=4)) as engine:
        _requests(engine, 0, 40)
        began = _state(engine)
        assert began[:2] == ((24, 48, 0), (0, 0))
        _requests(engine, 40, 1_000)
        assert _state(engine) == began


def test_after_a_thousand_requests_blocks_threads_and_tensors_are_back_where_they_began():
    _ask_one()
    threads, tensors = threading.active_count(), _tensors()
    _a_thousand_requests()
    assert threading.active_count() == threads
    assert _tensors() <= tensors


def test_a_session_whose_memory_is_kept_would_be_noticed(monkeypatch):
    monkeypatch.setattr(Histories, "close", lambda *_: None)
    with pytest.raises(AssertionError):
        _a_thousand_requests()
