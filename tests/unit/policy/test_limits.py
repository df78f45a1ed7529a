"""Bounds and costs: what is out of bounds is refused by name, and each bound gives its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from attrs import fields

import astraea.policy.limits
from astraea import EngineCosts, Limits, Tuning

FIELDS = [(cls, attribute.name) for cls in (EngineCosts, Tuning, Limits) for attribute in fields(cls)]
OTHERS = {Limits: {"device_blocks": 8}}


@pytest.mark.parametrize(("cls", "name"), [(c, n) for c, n in FIELDS if n not in {"costs", "tuning"}])
@pytest.mark.parametrize("value", [-1, 1.5, "1"])
def test_a_bound_is_a_whole_number_that_is_not_negative(cls, name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        cls(**{**OTHERS.get(cls, {}), name: value})


@pytest.mark.parametrize("name", ["device_blocks", "block_tokens", "step_tokens_max", "steps_max", "turns_max"])
def test_some_cannot_be_zero(name):
    with pytest.raises(ValueError, match=name):
        Limits(**{"device_blocks": 8, name: 0})


def test_the_bypass_bound_and_the_preemption_cap_may_be_zero():
    limits = Limits(device_blocks=8, bypass_max=0, preemptions_max=0)
    assert (limits.bypass_max, limits.preemptions_max) == (0, 0)


def test_shares_end_at_the_whole():
    with pytest.raises(ValueError, match="growth_cap_permille"):
        Tuning(growth_cap_permille=1_001)


def test_every_field_gives_its_reason_in_a_sentence():
    tree = ast.parse(Path(astraea.policy.limits.__file__).read_text(encoding="utf-8"))
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for here, after in zip(cls.body, cls.body[1:], strict=False):
            if isinstance(here, ast.AnnAssign) and here.target.id not in {"costs", "tuning"}:
                assert isinstance(after, ast.Expr), f"{cls.name}.{here.target.id} has no reason"
                assert after.value.value.endswith("."), f"{cls.name}.{here.target.id}"


def test_tokens_fill_whole_blocks():
    limits = Limits(device_blocks=10, block_tokens=16)
    assert limits.device_tokens == 160
    assert [limits.blocks_for(tokens) for tokens in (0, 1, 16, 17)] == [0, 1, 1, 2]


def test_prefill_costs_its_tokens_and_its_pairs():
    costs = EngineCosts(prefill_ns_per_token=1_000, attention_ps_per_token_pair=500)
    # 10 tokens after 100: 10,000 ns, and (10 * 100 + 50) pairs of half a nanosecond.
    assert costs.prefill_ns(100, 10) == 10_000 + 525


def test_a_decode_adds_its_token_and_its_reading_to_the_step():
    costs = EngineCosts(prefill_ns_per_token=1_000, read_ps_per_context_token=2_000)
    assert costs.decode_ns(context_tokens=100, output_tokens=3) == 3 * (1_000 + 200)
