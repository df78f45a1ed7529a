"""Every claim but performance holds for any chooser behind the protocol: here all that it says is drawn.

Sizes that are absurd, an order that is another at every look, caches kept for ever or given up at once. Policies are
trusted with completion times and with nothing else.
"""

from __future__ import annotations

import pytest
from chooser import AnyChooser, answers_from
from driver import Driver
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from test_machine import EXAMPLES, SchedulerMachine, limits
from walks import NIGHT, walk

ANSWERS = st.lists(st.integers(0, 60), min_size=1, max_size=24)
SEEDS = 1_000 if NIGHT else 100


class AnyChooserMachine(SchedulerMachine):
    @initialize(limits=limits(), answers=ANSWERS)
    def begin(self, limits, answers):
        self.driver = Driver(limits, AnyChooser(answers_from(answers)))


AnyChooserMachine.TestCase.settings = settings(max_examples=10 * EXAMPLES, stateful_step_count=60)
TestAnyChooser = AnyChooserMachine.TestCase


@pytest.mark.parametrize("part", range(4))
def test_every_claim_holds_on_long_walks_whatever_the_policy_answers(part, first_seed):
    for seed in range(first_seed + part, first_seed + SEEDS, 4):
        walk(seed, moves=160, policy=lambda rng: AnyChooser(rng.randrange)).check_trace()
