"""Long random walks under every claim, judged by the model after each verb and by the trace checker at their end."""

from __future__ import annotations

import pytest
from hypothesis import given, target
from hypothesis import strategies as st
from walks import walk

from astraea.rivals import policy_names

SEEDS_A_POLICY = 40


@pytest.mark.parametrize("policy", policy_names())
def test_every_claim_holds_on_long_walks(policy, record_property):
    verbs = 0
    for seed in range(SEEDS_A_POLICY):
        driver = walk(seed * 31 + 7, moves=160, policy=policy)
        driver.check_trace()
        verbs += driver.verbs
    record_property("verbs", verbs)
    print(f"{policy}: {verbs} events and decides on {SEEDS_A_POLICY} walks")


@given(seed=st.integers(0, 10**6), bound=st.integers(1, 6))
def test_live_1_is_kept_where_arrivals_are_hunted_for_the_worst_bypass(seed, bound):
    driver = walk(seed, moves=60, policy="astraea", bypass_max=bound, turns_max=1000, tenant_turns_max=1000)
    target(float(driver.model.worst_bypass), label="worst bypass")
    assert driver.model.worst_bypass <= bound
