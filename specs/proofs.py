"""Proofs by z3 that hold for any number of jobs, any estimates and all times; each beside claims that must fail.

``python -m specs.proofs [--json]`` tries every obligation and exits with 1 where a verdict is not the expected one.
An obligation is *proved* if its negation has no model. What z3 is asked is a model of the rules and not the code: the
words are those of ``policy/ranking.py`` and ``policy/guard.py``, and that the code does the same is for the tests to
show. Where a claim is an induction, z3 has its steps, and the docstring of the claim or of its file the conclusion.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Final

import z3

from specs import Claim
from specs.bypass import BYPASS
from specs.guard_clocks import GUARD_CLOCKS
from specs.ordering import ORDERING

__all__ = ["OBLIGATIONS", "Obligation", "Verdict", "main", "tried"]

TIMEOUT_MS: Final = 60_000
"""For one obligation; each takes milliseconds. What z3 gives up on is ``unknown``, which nothing expects."""


@dataclass(frozen=True)
class Obligation:
    """A claim for z3, and what is to become of it: ``proved``, or ``refuted`` by a model of its negation."""

    name: str
    claim: Claim
    expected: str


@dataclass(frozen=True)
class Verdict:
    """What became of an obligation."""

    name: str
    verdict: str
    expected: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it is as expected."""
        return self.verdict == self.expected


OBLIGATIONS: Final = [
    Obligation(f"{name} / wrong: {wrong}" if wrong else name, claim, "refuted" if wrong else "proved")
    for name, (right, wrongs) in {**ORDERING, **BYPASS, **GUARD_CLOCKS}.items()
    for wrong, claim in {"": right, **wrongs}.items()
]


def tried(obligation: Obligation) -> Verdict:
    """Ask z3 for a model of the claim's negation."""
    began = perf_counter()
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(z3.Not(obligation.claim()))
    verdict = {"unsat": "proved", "sat": "refuted"}.get(str(solver.check()), "unknown")
    return Verdict(obligation.name, verdict, obligation.expected, round(perf_counter() - began, 3))


def main(arguments: list[str] | None = None) -> int:
    """Try every obligation and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m specs.proofs", description="Prove what holds without bounds.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args(arguments).json
    verdicts = [tried(obligation) for obligation in OBLIGATIONS]
    ok = all(verdict.ok for verdict in verdicts)
    if as_json:
        print(json.dumps({"ok": ok, "proofs": [asdict(verdict) for verdict in verdicts]}, indent=2))
    else:
        for v in verdicts:
            print(f"{v.verdict:8} {v.seconds:7.3f} s  {v.name}" + ("" if v.ok else f"  EXPECTED {v.expected}"))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
