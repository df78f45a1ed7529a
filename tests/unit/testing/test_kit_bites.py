"""A checker is believed once it has failed: each mistake is found, as the claim that it breaks, in few calls."""

from __future__ import annotations

import mutant_schedulers as mutants
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from astraea.errors import InvariantError
from astraea.testing import Profile, conformance_machine, examine

SHORT = Profile(name="short", streams=30, moves_max=12, shrinks=60, walks=3, comers=12)

BREAKS = {  # a mistake may break more than one: what is cancelled and runs on holds blocks, too
    mutants.DoubleCounts: {"INV-1"},
    mutants.ForgetsToFree: {"INV-1"},
    mutants.HoldsForTheDead: {"INV-1"},
    mutants.LosesCancels: {"INV-4", "INV-1"},
    mutants.CancelsOnlyTheQueue: {"INV-4", "INV-1"},
    mutants.TellsATokenTwice: {"INV-4"},
    mutants.EndsEarly: {"INV-4", "INV-9"},
    mutants.FinishesTwice: {"INV-4"},
    mutants.HidesStarts: {"INV-2"},
    mutants.PreemptsInSilence: {"INV-2"},
    mutants.AdmitsAnything: {"INV-5"},
    mutants.Dozes: {"INV-6"},
    mutants.Gambles: {"INV-7"},
    mutants.OrdersByHash: {"INV-7"},
    mutants.SeesTheFuture: {"INV-9", "LIVE-1"},
    mutants.LastComeFirstServed: {"LIVE-1"},
    mutants.ShortestPromptFirst: {"LIVE-1"},
    mutants.PromisesTooMuch: {"LIVE-1"},
    mutants.ForgetsOne: {"LIVE-2", "LIVE-4", "INV-6", "LIVE-1"},
    mutants.Exchanges: {"LIVE-4", "LIVE-1"},
    mutants.RaisesOnCancel: {"CALLS"},
}
BY_CHANCE = {
    mutants.ForgetsToFree: {"INV-6", "LIVE-2", "LIVE-4"},  # if it forgets often enough
    mutants.Gambles: {"LIVE-1"},
    mutants.OrdersByHash: {"LIVE-1"},
}
LINES_MOST = 12


@pytest.mark.parametrize("mutant", BREAKS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_is_found_as_the_claim_that_it_breaks(mutant):
    report = examine(mutant, profile=SHORT)
    print(report)
    assert set(report.broken) - BY_CHANCE.get(mutant, set()) == BREAKS[mutant]
    for claim in BREAKS[mutant] - {"LIVE-4"}:  # an exchange without an end is a long story
        assert mutant is mutants.OrdersByHash or len(report[claim].calls) <= LINES_MOST


@pytest.mark.parametrize(
    ("mutant", "claim"),
    [
        (mutants.ForgetsToFree, "INV-1"),
        (mutants.PreemptsInSilence, "INV-2"),
        (mutants.LosesCancels, "INV-4"),
        (mutants.AdmitsAnything, "INV-5"),
        (mutants.Dozes, "INV-6"),
        (mutants.Gambles, "INV-7"),
        (mutants.SeesTheFuture, "INV-9"),
        (mutants.PromisesTooMuch, "LIVE-1"),
        (mutants.ForgetsOne, "LIVE-2"),
        (mutants.Exchanges, "LIVE-4"),
        (mutants.RaisesOnCancel, "CALLS"),
    ],
)
def test_the_state_machine_fails_with_the_claim_that_is_broken(mutant, claim):
    machine = conformance_machine(mutant, claims=[claim])
    within = settings(machine.TestCase.settings, phases=[Phase.generate], database=None)  # it need not shrink here
    with pytest.raises((InvariantError, Flaky)) as raised:
        run_state_machine_as_test(machine, settings=within)
    if mutant is not mutants.Gambles:  # which Hypothesis cannot repeat, and says so
        assert raised.type is InvariantError
        assert raised.value.claim == claim
