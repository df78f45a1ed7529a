"""What clients get wrong harms nobody else, and nobody waits for ever."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch
from dialogues import VOCABULARY, answer, max_output, prompt, tiny

from astraea.errors import UsageError
from astraea.executor.attention import PagedModel
from astraea.executor.copies import Copies
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.sampling import Sampling
from astraea.policy.limits import Limits

ROOMY = Limits(device_blocks=64, host_blocks=64)


def _request(dialogue=0, **changes):
    name = f"d{dialogue}"
    asked = {
        "session_id": name, "job_id": name, "turn_id": name, "prompt": prompt(dialogue, 0),
        "max_output_tokens": max_output(dialogue, 0), **changes,
    }  # fmt: skip
    return TurnRequest(**asked)


# What cannot be computed


@pytest.mark.parametrize("token", [-1, VOCABULARY, 2**40])
def test_a_token_that_the_model_does_not_have_is_refused_before_it_spoils_a_batch(token):
    with Engine(tiny(), ROOMY) as engine:
        told = engine.submit(_request(0))
        with pytest.raises(UsageError, match=f"turn d1: there is no token {token}, only 0 to {VOCABULARY - 1}"):
            engine.submit(_request(1, prompt=[1, token, 2]))
        engine.run_until_idle()
    assert tuple(told.tokens) == answer(0, 0)


@pytest.mark.parametrize("tokens", [["a"], [1.5], [2**70], [None]])
def test_a_prompt_that_is_no_sequence_of_token_ids_is_refused(tokens):
    with pytest.raises(UsageError, match="a prompt is a sequence of token ids"):
        _request(prompt=tokens)


def test_a_stop_token_that_the_model_does_not_have_is_held_back_without_harm():
    with Engine(tiny(), ROOMY) as engine:
        stops = frozenset({-3, VOCABULARY, 2**40})
        answers = [engine.submit(_request(i, stop_tokens=stops, min_output_tokens=2 * (i % 2))) for i in (0, 1)]
        engine.run_until_idle()
    assert [tuple(told.tokens) for told in answers] == [answer(0, 0), answer(1, 0)], [told.error for told in answers]


def test_the_largest_seed_is_one():
    with Engine(tiny(), ROOMY) as engine:
        told = engine.submit(_request(0, sampling=Sampling(temperature=1.0, seed=2**64 - 1)))
        engine.run_until_idle()
    assert told.finish is Finish.LENGTH


# Waiting


def test_whoever_waits_when_the_engine_is_closed_is_told_and_so_is_who_asks_later():
    engine = Engine(tiny(), ROOMY)
    live = engine.submit(_request(0, max_output_tokens=40, on_token=lambda _: engine.cancel("nobody")))
    engine.step()
    asked = engine.submit(_request(1))
    assert (live.finish, asked.finish) == (None, None)
    engine.close()
    later = engine.submit(_request(2))
    for one in (live, asked, later):
        assert one.wait(0)
        assert (one.finish, one.error) == (Finish.CANCELLED, "the engine was closed")
    assert 0 < len(live.tokens) < 40


def _woken_s(engine, news):
    """How long the engine waits at most ten seconds, with the news after a twentieth."""
    timer = threading.Timer(0.05, news)
    timer.start()
    began = time.monotonic()
    engine.wait(10.0)
    timer.join()
    return time.monotonic() - began


@pytest.mark.parametrize("copies", [0, 1])
def test_what_is_asked_wakes_the_engine_whether_or_not_a_copy_is_under_way(copies, monkeypatch):
    monkeypatch.setattr(Copies, "under_way", copies)
    with Engine(tiny(), ROOMY) as engine:
        assert _woken_s(engine, lambda: engine.submit(_request(0))) < 5


def test_the_end_of_a_copy_wakes_the_engine(monkeypatch):
    monkeypatch.setattr(Copies, "under_way", 1)
    with Engine(tiny(), ROOMY) as engine:
        copier = engine._copies._copier  # noqa: SLF001 - no decision asks for a copy of nothing
        assert _woken_s(engine, lambda: copier.begin(1, [], to_host=True)) < 5


# The process


def test_an_engine_with_a_host_pool_leaves_the_number_of_threads_alone():
    def threads_of_another():
        found = []
        thread = threading.Thread(target=lambda: (torch.ones(2).sum(), found.append(torch.get_num_threads())))
        thread.start()
        thread.join()
        return found

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Engine(tiny(), ROOMY) as engine:
            engine._copies._copier.begin(1, [], to_host=True)  # noqa: SLF001 - so that its thread has worked
            while not engine._copies.has_news:  # noqa: SLF001
                time.sleep(0.001)
            assert threads_of_another() == [2]
    finally:
        torch.set_num_threads(before)


class _Computed:
    """Stands for what a pass had computed when memory ran out."""


def test_nothing_of_a_pass_that_found_no_memory_is_kept_while_it_is_tried_in_halves(monkeypatch):
    forward, held = PagedModel.forward, []

    def runs_out(model, batch, tokens, sampling):
        if not held:
            computed = _Computed()
            held.append(weakref.ref(computed))
            raise torch.OutOfMemoryError("no memory")
        gc.collect()
        assert held[0]() is None
        return forward(model, batch, tokens, sampling)

    monkeypatch.setattr(PagedModel, "forward", runs_out)
    with Engine(tiny(), ROOMY) as engine:
        told = engine.submit(_request(0))
        engine.run_until_idle()
    assert tuple(told.tokens) == answer(0, 0), told.error
