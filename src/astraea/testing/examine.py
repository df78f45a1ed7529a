"""Examines a scheduler: searches for runs that break a claim, shrinks what it finds, says what it cannot judge."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import Flaky, NoSuchExample

from astraea.errors import UsageError
from astraea.testing.adapter import Factory
from astraea.testing.claims import CLAIMS
from astraea.testing.moves import Move, Shape
from astraea.testing.profiles import CI, Profile
from astraea.testing.report import Finding, Report, Verdict
from astraea.testing.run import Run, play
from astraea.testing.shrinking import shrink
from astraea.testing.sieges import Siege, besiege, grows, sieges
from astraea.testing.strategies import streams
from astraea.testing.twins import Difference, other_future, other_hash_seed, parted, reference, same_again
from astraea.testing.verdicts import why_not_judged
from astraea.testing.walk import draw_moves

__all__ = ["examine"]

_WITNESSES = 3
"""So many of the worst sieges are lengthened."""


def examine(
    factory: Factory, *, claims: Collection[str] = tuple(CLAIMS), profile: Profile = CI, name: str = ""
) -> Report:
    """Examine the scheduler that ``factory`` makes, and report on each of the claims.

    Raises :class:`UsageError` for a claim that the kit does not know.
    """
    unknown = [claim for claim in claims if claim not in CLAIMS]
    if unknown:
        raise UsageError(f"There is no claim {unknown[0]!r} here. The claims are {', '.join(CLAIMS)}.")
    examination = _Examination(factory, profile)
    examination.walk(claims)
    if "LIVE-1" in claims:
        examination.lay_sieges()
    examination.search(set(claims) - {"INV-7"})
    findings = tuple(examination.finding(claim) for claim in CLAIMS if claim in claims)
    title = name or getattr(factory, "__name__", type(factory).__name__)
    return Report(title, findings, examination.runs, examination.calls)


class _Examination:
    """What has been found so far."""

    def __init__(self, factory: Factory, profile: Profile) -> None:
        self._factory = factory
        self._profile = profile
        self._adapter = factory()
        self._shape = Shape.of(self._adapter)
        self._seed = secrets.randbelow(1 << 32) if profile.seed is None else profile.seed
        self._broken: dict[str, Finding] = {}
        self._occasions: Counter[str] = Counter()
        self._seen: dict[str, Run] = {}
        """By claim, the shortest run that broke it."""
        self._streams: dict[str, Sequence[Move]] = {}
        """By claim, the first stream that broke it."""
        self._notes: dict[str, str] = {}
        self.runs = 0
        self.calls = 0

    def _ran(self, run: Run) -> Run:
        self.runs += 1
        self.calls += len(run.calls)
        self._occasions.update(run.watch.occasions)
        return run

    # Walks

    def walk(self, claims: Collection[str]) -> None:
        """Walk from some seeds; for INV-7 repeat each walk here, and all in another process."""
        seeds = range(self._seed, self._seed + self._profile.walks)
        walked = []
        for seed in seeds:
            moves = draw_moves(seed, self._shape, self._profile.moves_max)
            run = self._ran(play(self._factory, moves))
            self._look(run, moves)
            walked.append(run)
            if "INV-7" in claims and "INV-7" not in self._broken:
                self._occasions["INV-7"] += 1
                difference = same_again(self._factory, moves, run)
                if difference is not None:
                    self._part(*self._shorter(moves, (difference, run)))
        if "INV-7" in claims and "INV-7" not in self._broken:
            self._repeat_elsewhere(seeds, walked)

    def _shorter(self, moves: Sequence[Move], first: tuple[Difference, Run]) -> tuple[Difference, Run]:
        """Shrink a walk that its repetition differs from; return the shortest of the differing runs."""
        parted = [first]

        def differs(shorter: Sequence[Move]) -> bool:
            run = self._ran(play(self._factory, shorter))
            difference = same_again(self._factory, shorter, run)
            if difference is not None:
                parted.append((difference, run))
            return difference is not None

        shrink(moves, differs, self._profile.shrinks)
        return min(parted, key=lambda found: found[0].at)

    def _repeat_elsewhere(self, seeds: range, walked: list[Run]) -> None:
        named = reference(self._factory)
        if named is None:
            self._notes["INV-7"] = "in this process only: another cannot import this factory by name"
            return
        others = other_hash_seed(named, seeds, self._profile.moves_max)
        if isinstance(others, str):
            self._notes["INV-7"] = f"in this process only: the other one said {others!r}"
            return
        for run, digests in zip(walked, others, strict=True):
            difference = parted(run, digests)
            if difference is not None:
                self._part(difference, run)
                return

    def _part(self, difference: Difference, run: Run) -> None:
        calls = run.sentences(difference.at)
        self._broken["INV-7"] = Finding("INV-7", Verdict.BROKEN, difference.sentence, calls)

    # LIVE-1

    def lay_sieges(self) -> None:
        """Besiege; lengthen the worst sieges, and see whether what the besieged suffers grows with them."""
        bound = self._adapter.bypass_bound
        comers = self._profile.comers
        by_worst = sorted(sieges(self._shape), key=lambda siege: -self._worst(siege, comers))
        seen = []
        for siege in by_worst[:_WITNESSES]:
            worst = [self._worst(siege, comers << doubling) for doubling in range(3)]
            seen.append(worst[-1])
            if bound is None and grows(worst):
                lengths = ", ".join(f"{passed} times by {comers << i} others" for i, passed in enumerate(worst))
                self._broken["LIVE-1"] = Finding("LIVE-1", Verdict.BROKEN, f"{siege.name}: passed {lengths}")
                return
        if bound is None:
            self._notes["LIVE-1"] = f"passed {max(seen)} times at most by {comers << 2} others, and not more by more"
        elif 2 * bound > comers << 2:
            self._notes["LIVE-1"] = ""
        else:
            self._notes["LIVE-1"] = f"passed {max(seen)} times at most; the bound is {bound}"

    def _worst(self, siege: Siege, comers: int) -> int:
        run = self._ran(besiege(self._factory, siege, comers))
        self._look(run)
        return run.watch.bypasses.worst[0]

    # All others

    def search(self, claims: Collection[str]) -> None:
        """Shrink what is known already; then let Hypothesis look for streams that break any of the other claims."""
        todo = frozenset(claims) - self._broken.keys()
        if "INV-7" in self._broken:
            todo -= {"INV-9"}
        found = todo & self._streams.keys()
        while todo and (found or (found := self._find(todo))):
            for claim in sorted(found):
                shrink(self._streams[claim], partial(self._still_breaks, frozenset({claim})), self._profile.shrinks)
                self._settle(claim)
            todo, found = todo - found, frozenset()

    def _find(self, todo: frozenset[str]) -> frozenset[str]:
        """Return what the first stream that breaks any of these claims breaks; nothing if there is none."""
        within = settings(
            max_examples=self._profile.streams,
            phases=(Phase.generate,),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        found: list[frozenset[str]] = []

        def breaks(moves: list[Move]) -> bool:
            found.append(self._breaks(moves, todo))
            return bool(found[-1])

        strategy = streams(self._shape, self._profile.moves_max)
        with suppress(NoSuchExample, Flaky):  # Flaky: the scheduler is; what was seen was seen
            find(strategy, breaks, settings=within, random=Random(self._seed))
        return next(filter(None, found), frozenset())

    def _still_breaks(self, todo: frozenset[str], moves: Sequence[Move]) -> bool:
        return bool(self._breaks(moves, todo))

    def _breaks(self, moves: Sequence[Move], todo: frozenset[str]) -> frozenset[str]:
        run = self._ran(play(self._factory, moves, until=todo))
        if "INV-9" in todo and not run.over:
            self._occasions["INV-9"] += 1
            difference = other_future(self._factory, moves, run)
            if difference is not None:
                run.watch.breach("INV-9", difference.sentence)
                run.breach_at["INV-9"] = difference.at
        self._look(run, moves)
        return todo & run.watch.breaches.keys()

    def _look(self, run: Run, moves: Sequence[Move] = ()) -> None:
        for claim in run.watch.breaches:
            if moves:
                self._streams.setdefault(claim, moves)
            best = self._seen.get(claim)
            if best is None or run.breach_at[claim] < best.breach_at[claim]:
                self._seen[claim] = run

    def _settle(self, claim: str) -> None:
        run = self._seen[claim]
        calls = run.sentences(run.breach_at[claim])
        self._broken[claim] = Finding(claim, Verdict.BROKEN, run.watch.breaches[claim], calls)

    def finding(self, claim: str) -> Finding:
        """Return the verdict on a claim."""
        broken = self._broken.get(claim)
        if broken is not None:
            return broken
        why_not = why_not_judged(claim, self._adapter, self._profile, self._occasions, self._broken)
        if why_not:
            return Finding(claim, Verdict.NOT_JUDGED, why_not)
        note = self._notes.get(claim, "")
        sentence = f"{self._occasions[claim]} occasions"
        return Finding(claim, Verdict.KEPT, f"{sentence}; {note}" if note else sentence)
