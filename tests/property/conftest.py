"""Lets the files of this folder import each other by name, and says at the end how much was tried."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter):
    from driver import Driver  # noqa: PLC0415 - known only now

    if Driver.verbs_of_all:
        terminalreporter.write_line(f"property suite: {Driver.verbs_of_all} events and decides, every claim after each")
