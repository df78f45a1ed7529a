"""A checker is believed once it has failed: rules are broken on purpose, and the claim named for each must see it."""

from __future__ import annotations

import pytest
from chooser import AnyChooser
from mutants import MUTANTS
from walks import walk

from astraea.errors import InvariantError

WALKS = 150


def any_chooser(rng):
    return AnyChooser(rng.randrange)


def first_breach(policy):
    """Return the first error that any walk meets, and the walk's seed."""
    for seed in range(WALKS):
        try:
            walk(seed, moves=80, policy=policy)
        except InvariantError as error:
            return seed, error
    return None


@pytest.mark.parametrize("policy", [None, any_chooser], ids=["the_policies", "any_chooser"])
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_seen_by_the_claim_named_for_it(mutant, policy, monkeypatch):
    mutant(monkeypatch)
    breach = first_breach(policy)
    assert breach is not None, f"{mutant.__name__}: {mutant.__doc__} Nothing was seen on {WALKS} walks."
    seed, error = breach
    assert error.claim in MUTANTS[mutant], f"{mutant.__name__} is seen on walk {seed}, but as {error}"
