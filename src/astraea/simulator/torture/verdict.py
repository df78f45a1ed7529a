"""What a round came to: the claim that is broken, if one is, and what was reached.

A breach may be seen by the run itself (a snapshot, a refusal, progress that fails to come) or by the trace checker,
which judges the whole trace afterwards.
"""

from __future__ import annotations

import traceback
from collections import Counter

from attrs import frozen

from astraea.errors import ContractError, InvariantError
from astraea.simulator.torture.faults import FaultKind
from astraea.simulator.torture.plan import Plan
from astraea.simulator.torture.run import Round
from astraea.trace.check import check_trace
from astraea.trace.check_report import Breach
from astraea.trace.entries import Entry

__all__ = ["LOOK_EVERY", "RoundVerdict", "carry_out"]

LOOK_EVERY = 8
"""Snapshots are judged after so many verbs; once something is found, after each. 0: never."""


@frozen(slots=True, kw_only=True)
class RoundVerdict:
    """The outcome of one round."""

    plan: Plan
    claim: str
    """Id of the broken claim; empty where none is."""
    sentence: str
    breach: Breach | None
    """What the trace checker says."""
    entries: tuple[Entry, ...]
    """The trace; empty where nothing is broken."""
    simulated_us: int
    busy_us: int
    events: int
    decides: int
    decisions: int
    worst_bypass: int
    bypass_bound: int | None
    heal_share: float
    """Calls of ``decide`` between heal and rest, as a share of the bound."""
    faults: Counter[FaultKind]
    probes: Counter[str]
    digest: str

    @property
    def ok(self) -> bool:
        """Whether no claim is broken."""
        return not self.claim


def carry_out(plan: Plan, look_every: int = LOOK_EVERY) -> RoundVerdict:
    """Carry out a plan and judge it; whatever the scheduler raises is a verdict too."""
    run = Round(plan, look_every)
    claim, sentence = _found(run)
    report = check_trace(run.witness.entries)
    breach = report.breach
    if breach is not None and claim in {"", "CRASH", "CONTRACT"}:
        claim, sentence = breach.claim, breach.sentence
    witness = run.witness
    return RoundVerdict(
        plan=plan, claim=claim, sentence=sentence, breach=breach, entries=tuple(witness.entries) if claim else (),
        simulated_us=run.simulated_us, busy_us=run.busy_us, events=witness.events, decides=witness.decides,
        decisions=witness.decisions, worst_bypass=report.worst_bypass,
        bypass_bound=report.bypass_max if report.guarded else None, heal_share=run.heal_share,
        faults=witness.faults, probes=witness.probes, digest=report.digest,
    )  # fmt: skip


def _found(run: Round) -> tuple[str, str]:
    """Return the claim that the run itself sees broken, and how; two empty texts where it sees none."""
    try:
        run.carry_out()
    except InvariantError as error:
        return error.claim, str(error).removeprefix(f"{error.claim}: ")
    except ContractError as error:
        return "CONTRACT", str(error)
    except Exception as error:  # noqa: BLE001 - a crash of the scheduler is a finding, with its place
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "CRASH", f"{type(error).__name__}: {error} at {place.filename}:{place.lineno} in {place.name}"
    return "", ""
