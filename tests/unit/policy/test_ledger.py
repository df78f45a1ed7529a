"""The ledger's tripwires: a count never falls below zero unnoticed (INV-1)."""

from __future__ import annotations

import pytest

from astraea import InvariantError, Limits
from astraea.policy.ledger import Ledger
from astraea.policy.state import Holding


def test_more_device_blocks_than_are_free_cannot_be_taken():
    ledger = Ledger(Limits(device_blocks=4))
    assert ledger.resize(Holding(), 4) == -4
    with pytest.raises(InvariantError, match=r"^INV-1: 1 device blocks more than free"):
        ledger.resize(Holding(), 1)


def test_more_host_blocks_than_are_free_cannot_be_taken():
    ledger = Ledger(Limits(device_blocks=4, host_blocks=2))
    with pytest.raises(InvariantError, match=r"^INV-1: 3 host blocks more than free"):
        ledger.resize_host(Holding(), 5)
