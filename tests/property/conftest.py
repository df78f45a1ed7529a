"""Lets the files of this folder import each other by name, and says at the end how much was tried."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def first_seed():
    """The seed at which walks begin: 0 by day; by night another each time, and printed."""
    from walks import NIGHT  # noqa: PLC0415 - known only now

    seed = random.SystemRandom().randrange(10**9) if NIGHT else 0
    print(f"walks from seed {seed}")
    return seed


def pytest_terminal_summary(terminalreporter):
    from driver import Driver  # noqa: PLC0415 - known only now

    if Driver.verbs_of_all:
        terminalreporter.write_line(
            f"property suite: {Driver.machine_steps} steps of state machines; with the walks and hunts "
            f"{Driver.verbs_of_all} events and decides, every claim after each"
        )
