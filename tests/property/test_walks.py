"""Long random walks under every claim, judged by the model after each verb and by the trace checker at their end."""

from __future__ import annotations

import pytest
from walks import NIGHT, walk

from astraea.rivals import policy_names

SEEDS_A_POLICY = 1_000 if NIGHT else 40


@pytest.mark.parametrize("policy", policy_names())
def test_every_claim_holds_on_long_walks(policy, first_seed):
    verbs = 0
    for seed in range(first_seed, first_seed + SEEDS_A_POLICY):
        driver = walk(seed * 31 + 7, moves=160, policy=policy)
        driver.check_trace()
        verbs += driver.verbs
    print(f"{policy}: {verbs} events and decides on {SEEDS_A_POLICY} walks")
