"""Many seeds, each for its share of the hours: what a night came to, and what was found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import asdict, evolve, field, frozen

from astraea.errors import UsageError
from astraea.rivals import policy_names
from astraea.simulator.parallel import default_workers, side_by_side
from astraea.simulator.scenario import check_name, check_positive
from astraea.simulator.torture.faults import FaultKind
from astraea.simulator.torture.files import write_trace
from astraea.simulator.torture.plan import Plan, draw_plan, plan_lines, rounds_of
from astraea.simulator.torture.shrinking import shrink
from astraea.simulator.torture.verdict import RoundVerdict, carry_out

__all__ = ["Finding", "Night", "NightRequest", "plans_of", "torture"]

_US_PER_HOUR = 3_600_000_000
_US_PER_MINUTE = 60_000_000

Progress: TypeAlias = Callable[[str, int, int], None]


@frozen(slots=True, kw_only=True)
class NightRequest:
    """What is asked for."""

    hours: float
    """Simulated device-hours of all seeds together; each seed has an equal share."""
    seeds: int = 1
    first_seed: int = 0
    policy: str = "astraea"
    round: int | None = None
    """Only this round of the first seed, whatever the hours."""
    record: Path = field(default=Path("torture-findings"))
    """Folder for the traces of what is found; made when there is something."""

    def __attrs_post_init__(self) -> None:
        check_positive("the number of hours", self.hours)
        check_name("policy", self.policy, policy_names())
        if self.seeds < 1 or self.first_seed < 0 or (self.round is not None and self.round < 0):
            raise UsageError("seeds and rounds count from 0, and there must be one seed at least")

    @property
    def span_us(self) -> int:
        """The share of one seed."""
        return int(self.hours * _US_PER_HOUR / self.seeds)


@frozen(slots=True, kw_only=True)
class Finding:
    """A claim that was seen broken, and the smallest trace that shows it."""

    seed: int
    round: int
    claim: str
    sentence: str
    """Of the shrunk run."""
    checker: str
    """The line and claim that ``astraea check`` names; empty where it cannot see the breach."""
    trace: str
    jobs: int
    faults: int
    plan: tuple[str, ...]
    """The shrunk plan, in lines."""


@frozen(slots=True, kw_only=True)
class Night:
    """The totals over all rounds."""

    policy: str
    seeds: int
    rounds: int
    simulated_us: int
    """The clock's jumps left out."""
    busy_us: int
    """Of these, the engine computed so long."""
    events: int
    decides: int
    decisions: int
    worst_bypass: int
    bypass_bound: int | None
    """K of the round that had the worst bypass: it is drawn for each."""
    worst_heal_share: float
    """Of the calls of ``decide`` within which a healed round must come to rest, the most that one needed."""
    faults: Mapping[str, int]
    """How often each kind struck."""
    probes: Mapping[str, int]
    """How often each reason, rare state and reaction was reached."""
    digest: str
    """SHA-256 over the digests of the rounds, in order."""
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, object]:
        """Return the night under the keys that ``astraea torture --json`` prints."""
        return {
            "policy": self.policy,
            "seeds": self.seeds,
            "rounds": self.rounds,
            "violations": len(self.findings),
            "simulated_hours": round(self.simulated_us / _US_PER_HOUR, 3),
            "busy_hours": round(self.busy_us / _US_PER_HOUR, 3),
            "events": self.events,
            "decides": self.decides,
            "decisions": self.decisions,
            "faults": sum(self.faults.values()),
            "worst_bypass": self.worst_bypass,
            "bypass_bound": self.bypass_bound,
            "worst_heal_share": round(self.worst_heal_share, 4),
            "faults_by_kind": dict(self.faults),
            "probes": dict(self.probes),
            "digest": self.digest,
            "findings": [asdict(finding) for finding in self.findings],
        }


def plans_of(request: NightRequest) -> list[Plan]:
    """Return the plans of a request, seed after seed."""
    return [plan for one in _by_seed(request) for plan in _plans(one)]


def _by_seed(request: NightRequest) -> list[NightRequest]:
    count = 1 if request.round is not None else request.seeds
    share = request.hours / request.seeds
    return [evolve(request, first_seed=request.first_seed + index, seeds=1, hours=share) for index in range(count)]


def _plans(request: NightRequest) -> Iterable[Plan]:
    """Return the plans of the first seed."""
    if request.round is not None:
        return [draw_plan(request.first_seed, request.round, request.policy)]
    return rounds_of(request.first_seed, request.policy, request.span_us)


def torture(request: NightRequest, *, workers: int | None = None, on_progress: Progress | None = None) -> Night:
    """Carry out every round of every seed, side by side by seed; the first finding of a seed ends it.

    Raises :class:`UsageError` where a finding's trace cannot be written.
    """
    seeds = _by_seed(request)
    total = max(1, request.span_us * len(seeds) // _US_PER_MINUTE)

    def tell(done: int, of: int) -> None:
        if on_progress is not None:
            on_progress("torture", min(done, of), of)

    parts = side_by_side(_one_seed, seeds, total, workers=workers or default_workers(), on_progress=tell)
    return _sum(request.policy, parts)


def _one_seed(request: NightRequest, on_progress: Callable[[int, int], None]) -> Night:
    """Carry out the rounds of one seed."""
    rounds: list[Night] = []
    planned_us = 0
    for plan in _plans(request):
        rounds.append(_of_round(carry_out(plan), request.record))
        if rounds[-1].findings:
            break
        planned_us += plan.horizon_us
        on_progress(planned_us // _US_PER_MINUTE, 0)
    return evolve(_sum(request.policy, rounds), seeds=1)


def _of_round(verdict: RoundVerdict, folder: Path) -> Night:
    return Night(
        policy=verdict.plan.policy, seeds=0, rounds=1, simulated_us=verdict.simulated_us, busy_us=verdict.busy_us,
        events=verdict.events, decides=verdict.decides, decisions=verdict.decisions,
        worst_bypass=verdict.worst_bypass, bypass_bound=verdict.bypass_bound, worst_heal_share=verdict.heal_share,
        faults={kind.value: verdict.faults[kind] for kind in FaultKind}, probes=verdict.probes, digest=verdict.digest,
        findings=() if verdict.ok else (_finding(verdict.plan, folder),),
    )  # fmt: skip


def _finding(plan: Plan, folder: Path) -> Finding:
    """Shrink what was found, and write it down."""
    smallest = shrink(plan)
    seen, breach = smallest.seen, smallest.shown.breach
    return Finding(
        seed=plan.seed, round=plan.round, claim=seen.claim, sentence=seen.sentence,
        checker="" if breach is None else f"line {breach.line}: {breach.claim}",
        trace=str(write_trace(smallest.shown, folder)), jobs=len(seen.plan.jobs), faults=len(seen.plan.faults),
        plan=tuple(plan_lines(seen.plan)),
    )  # fmt: skip


def _sum(policy: str, parts: Sequence[Night]) -> Night:
    worst = max(parts, key=lambda part: part.worst_bypass)
    return Night(
        policy=policy, seeds=sum(p.seeds for p in parts), rounds=sum(p.rounds for p in parts),
        simulated_us=sum(p.simulated_us for p in parts), busy_us=sum(p.busy_us for p in parts),
        events=sum(p.events for p in parts), decides=sum(p.decides for p in parts),
        decisions=sum(p.decisions for p in parts), worst_bypass=worst.worst_bypass, bypass_bound=worst.bypass_bound,
        worst_heal_share=max(p.worst_heal_share for p in parts), faults=_added([p.faults for p in parts]),
        probes=_added([p.probes for p in parts]), digest=_digest([p.digest for p in parts]),
        findings=tuple(finding for part in parts for finding in part.findings),
    )  # fmt: skip


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = sorted({name for each in counts for name in each})
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


def _digest(digests: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
