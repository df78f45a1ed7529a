"""LIVE-1 where it is hunted: Hypothesis writes arrival streams and climbs towards the worst bypass that it finds.

One early job is long; what comes after it, when, and how large, is the hunter's. The engine is perfect: each batch is
reported in full, each turn runs to its maximum. With the guard the hunt comes to K and not further; without it, to
whatever the stream allows.
"""

from __future__ import annotations

import pytest
from chooser import AnyChooser, answers_from
from driver import Arrival, Driver
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st
from mutants import no_guard
from walks import NIGHT

from astraea.policy.limits import Limits

BOUND = 5
HUNT = settings(
    max_examples=2_000 if NIGHT else 150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
COMERS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(1, 40), st.integers(1, 12), st.booleans()), min_size=1, max_size=40
)
"""Pause before it, new tokens, output, and whether the engine runs on before the next one comes."""


def limits_of_the_hunt(turns):
    return Limits(
        device_blocks=30, block_tokens=4, batch_turns_max=turns, bypass_max=BOUND, step_tokens_max=64, host_blocks=10
    )


def play(driver, comers):
    """Let a long job come, then the hunter's; return the most bypasses of any job, as the model counts them."""
    for session in (0, 1):  # the first keeps the engine busy while the second waits
        driver.arrive(Arrival(session=session, new=60, output=40))
        driver.decide()
    for number, (pause, new, output, runs) in enumerate(comers):
        driver.pause(pause)
        driver.arrive(Arrival(session=2 + number % 4, context=number // 4, new=new, output=output))
        driver.decide()
        if runs:
            serve(driver)
    while driver.model.turns:
        serve(driver)
    return driver.model.worst_bypass


def serve(driver):
    if driver.model.batch is not None:
        driver.pause(3)
        driver.report_batch(1 << 20, [0])
    for _ in list(driver.model.copies):
        driver.swap_done(0, failed=False)
    driver.decide()


def worst_found(make_policy):
    """Hunt; return the worst bypass of all streams tried."""
    worst = 0

    @HUNT
    @given(comers=COMERS, turns=st.integers(1, 2), answers=st.lists(st.integers(0, 60), min_size=1, max_size=12))
    def hunt(comers, turns, answers):
        nonlocal worst
        driver = Driver(limits_of_the_hunt(turns), make_policy(answers))
        driver.model.guarded = False  # the hunt measures; what it may find is judged below
        driver.guarded = False
        found = play(driver, comers)
        target(float(found), label="worst bypass")
        worst = max(worst, found)

    hunt()
    return worst


CHOOSERS = {
    "astraea": lambda answers: "astraea",
    "anything": lambda answers: AnyChooser(answers_from(answers)),
}


@pytest.mark.parametrize("chooser", CHOOSERS)
def test_live_1_the_hunted_bypass_comes_to_the_bound_and_not_beyond(chooser):
    assert worst_found(CHOOSERS[chooser]) == BOUND


@pytest.mark.parametrize("chooser", CHOOSERS)
def test_without_the_guard_the_same_hunt_exceeds_the_bound(chooser, monkeypatch):
    no_guard(monkeypatch)
    found = worst_found(CHOOSERS[chooser])
    print(f"{chooser} without the guard: a job is bypassed {found} times, the bound was {BOUND}")
    assert found > BOUND
