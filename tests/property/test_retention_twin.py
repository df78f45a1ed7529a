"""What is kept under pressure: wait histories against plain lists, and INV-10 on states that walks reach."""

from __future__ import annotations

from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from walks import Walk

from astraea.policy.fixedpoint import half_octave
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits, Tuning
from astraea.policy.prediction import Predictor, WaitHistory
from astraea.policy.pressure import KeepByReuse
from astraea.policy.safety import Force, Safety
from astraea.policy.state import Context, Session
from astraea.policy.tables import TurnState

WAITS = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 10**9)), min_size=1, max_size=30)


def slow_rests(waits):
    """At 0 and at the least wait of every half-octave that has waits: the mean rest of those that last so long."""
    starts = {0} | {isqrt(2 ** half_octave(wait + 1) - 1) for wait in waits}
    rests = []
    for start in sorted(starts):
        lasting = [wait for wait in waits if wait >= start]
        rests.append((start, max(0, sum(lasting) // len(lasting) - start)))
    return rests


@given(waits=WAITS)
def test_the_rest_of_a_wait_is_the_mean_of_the_waits_that_last_so_long(waits):
    history = WaitHistory()
    for wait in waits:
        history.add(wait)
    assert history.rests_us() == slow_rests(waits)
    assert history.mean_us() == sum(waits) // len(waits)
    assert history.longest_us == max(waits)


@given(value=st.integers(1, 10**12))
def test_a_half_octave_is_the_floor_of_twice_the_logarithm(value):
    bucket = half_octave(value)
    assert 2**bucket <= value**2 < 2 ** (bucket + 1)


def cached_context(tokens, tool="shell"):
    context = Context(Session("ann", "s"), "c")
    context.holding.device_tokens, context.waits_for = tokens, tool
    return context


@given(waits=WAITS, tokens=st.integers(1, 640), tenths=st.sampled_from([0, 5, 35, 400]), now=st.integers(0, 10**6))
def test_a_cache_is_kept_while_the_expected_rest_is_below_its_refill_times(waits, tokens, tenths, now):
    limits = Limits(device_blocks=40, tuning=Tuning(keep_tenths=tenths))
    predictor = Predictor(limits)
    for wait in waits:
        predictor.learn_wait("shell", wait)
    refill_us = limits.costs.prefill_ns(0, tokens) * limits.device_tokens // tokens // 1000
    bound = tenths * refill_us // 10
    until = next((start for start, rest in slow_rests(waits) if rest >= bound), max(waits) + 1)
    kept_until = KeepByReuse(limits, predictor).keep_until_us(cached_context(tokens), Ledger(limits), now)
    assert kept_until == now + until


def plan_of(safety, turn, blocks, force, now_us):
    plan = safety.plan(turn, blocks, force, now_us)
    return None if plan is None else [(eviction.cache, eviction.blocks, eviction.copies) for eviction in plan]


def is_prefix(shorter, longer):
    """The shorter plan takes the same caches in the same order, and of the last one no more."""
    if not shorter:
        return True
    whole, (cache, blocks, copies) = shorter[:-1], shorter[-1]
    other, most, copied = longer[len(whole)] if len(longer) > len(whole) else (None, 0, None)
    return whole == longer[: len(whole)] and cache is other and blocks <= most and copies == copied


def check_inv_10(safety, turn, force, now_us, most):
    """Each further block that is demanded only extends the plan; return how many plans were compared."""
    compared, before = 0, []
    for blocks in range(1, most + 1):
        plan = plan_of(safety, turn, blocks, force, now_us)
        if plan is None:
            break
        assert is_prefix(before, plan), f"INV-10: for {blocks} blocks {plan}, for one less {before}"
        compared, before = compared + 1, plan
    return compared


def waiting_turns(core):
    turns = core._registry.turns.values()  # noqa: SLF001 - a plan is asked of the inside
    return [turn for turn in turns if turn.state in {TurnState.WAITING, TurnState.PREEMPTED}]


def compare_on_walks(seeds):
    compared = 0
    for seed in seeds:
        walk = Walk(seed, host_blocks=20)
        for _ in range(12):
            walk.go(5)
            core, now_us = walk.driver.core, walk.driver.now_us
            inside = (core._kv, core._waiting)  # noqa: SLF001 - a plan is asked of the inside
            safety = Safety(core.limits, core.policy, *inside)
            for turn in waiting_turns(core):
                for force in Force:
                    compared += check_inv_10(safety, turn, force, now_us, core.limits.device_blocks)
    return compared


def test_inv_10_more_pressure_only_extends_the_list_of_victims():
    assert compare_on_walks(range(60)) > 1_000


def check_less_memory(core, turn, now_us, force):
    """Shrink the free memory block by block; each plan for the same turn only extends the one before it."""
    safety = Safety(core.limits, core.policy, core._kv, core._waiting)  # noqa: SLF001
    ledger, free = core._ledger, core._ledger.device_free  # noqa: SLF001
    need, compared, before = safety.need_blocks(turn, turn.goal_tokens), 0, []
    try:
        while ledger.device_free >= 0:
            plan = plan_of(safety, turn, need - ledger.device_free, force, now_us)
            if plan is None:
                break
            assert is_prefix(before, plan), f"INV-10: with {ledger.device_free} free {plan}, with one more {before}"
            compared, before = compared + 1, plan
            ledger.device_free -= 1
    finally:
        ledger.device_free = free
    return compared


def test_inv_10_with_less_free_memory_no_cache_stays_that_would_have_gone():
    compared = 0
    for seed in range(60):
        walk = Walk(seed, policy="astraea")
        for _ in range(12):
            walk.go(5)
            for turn in waiting_turns(walk.driver.core):
                for force in Force:
                    compared += check_less_memory(walk.driver.core, turn, walk.driver.now_us, force)
    assert compared > 1_000


def test_inv_10_fails_where_pressure_chooses_other_victims(monkeypatch):
    victims = Safety._victims  # noqa: SLF001 - the mutant

    def largest_first(self, turn, force):
        return sorted(victims(self, turn, force), key=lambda cache: hash((id(cache), self.salt)))

    def salted(self, turn, blocks, force, now_us):
        self.salt = blocks
        return plan(self, turn, blocks, force, now_us)

    plan = Safety.plan
    monkeypatch.setattr(Safety, "_victims", largest_first)
    monkeypatch.setattr(Safety, "plan", salted)
    with pytest.raises(AssertionError, match="INV-10"):
        compare_on_walks(range(60))
