"""Random prompts share with their context's history, and with each other, just what the workload says."""

from __future__ import annotations

import pytest
from attrs import evolve

from astraea.cli.prompts import Prompts
from astraea.events import SharedPrefix, TurnArrived

FIRST = TurnArrived(0, "t", "s", "j", "j/0", "main", 40, 0, 8)


def common(one, other):
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def after_first(prompts):
    first = prompts.prompt(FIRST)
    history = [*first, 0, 1, 0, 1, 0, 1, 0, 1]
    prompts.answered(FIRST, history)
    return history


@pytest.mark.parametrize("vocabulary", [2, 2048])
@pytest.mark.parametrize("reusable", [0, 1, 17, 47, 48])
def test_a_prompt_shares_with_the_history_what_it_should(reusable, vocabulary):
    prompts = Prompts(vocabulary, 0)
    history = after_first(prompts)
    prompt = prompts.prompt(evolve(FIRST, turn_id="j/1", context_tokens=60, reusable_tokens=reusable))
    assert len(prompt) == 60
    assert common(prompt, history) == reusable
    assert all(0 <= token < vocabulary for token in prompt)


def test_a_shorter_prompt_after_a_longer_one_ends_with_something_new():
    prompts = Prompts(2048, 0)
    history = after_first(prompts)
    prompt = prompts.prompt(evolve(FIRST, turn_id="j/1", context_tokens=20, reusable_tokens=30))
    assert (len(prompt), common(prompt, history)) == (20, 19)


def test_contexts_share_a_prefix_of_their_tenant_and_nothing_else():
    prompts = Prompts(2048, 0)
    shared = evolve(FIRST, shared_prefix=SharedPrefix("tools", 12))
    one = prompts.prompt(shared)
    two = prompts.prompt(evolve(shared, session_id="s2", turn_id="j2/0"))
    other_tenant = prompts.prompt(evolve(shared, tenant="u"))
    assert common(one, two) == 12
    assert common(one, other_tenant) < 2
    prompts.answered(shared, one)
    assert common(prompts.prompt(evolve(shared, turn_id="j/1", context_tokens=60, reusable_tokens=40)), one) == 40


def test_a_seed_makes_the_same_prompts_and_another_makes_others():
    assert Prompts(2048, 1).prompt(FIRST) == Prompts(2048, 1).prompt(FIRST)
    assert Prompts(2048, 1).prompt(FIRST) != Prompts(2048, 2).prompt(FIRST)


def test_a_session_that_is_forgotten_has_no_history():
    prompts = Prompts(2048, 0)
    history = after_first(prompts)
    prompts.forget("t", "s")
    again = prompts.prompt(evolve(FIRST, turn_id="j/1", context_tokens=60, reusable_tokens=40))
    assert common(again, history) < 2
