"""Sees everything that passes between driver and scheduler: keeps it as a trace, looks at snapshots, counts.

What is counted are *probes*: how often a rare thing was reached at all. A search that never reached it has not tested
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from astraea.decisions import Decision, RunBatch
from astraea.events import Event
from astraea.policy.core import Scheduler
from astraea.policy.invariants import check_snapshot
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.simulator.torture.faults import FaultKind
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, Entry, EventEntry, TraceHeader

__all__ = ["Witness"]

_COMMON = frozenset({"kv none", "kv device", "turn waiting", "turn running"})
"""States that every run is full of."""


class Witness:
    """Keeps the entries of one run, and judges every ``look_every``-th snapshot, none where that is 0."""

    def __init__(self, limits: Limits, policy: Policy, look_every: int) -> None:
        header = TraceHeader(1, policy.name, limits, policy.guarded, policy.blocking)
        self.entries: list[Entry] = [header]
        self.events = 0
        self.decides = 0
        self.decisions = 0
        self.faults: Counter[FaultKind] = Counter()
        """Faults that struck."""
        self.probes: Counter[str] = Counter()
        self._limits = limits
        self._guarded = policy.guarded
        self._look_every = look_every
        self._verbs = 0

    def event(self, event: Event) -> None:
        """Note an event."""
        self.events += 1
        self.entries.append(EventEntry(len(self.entries) + 1, event))

    def refused(self) -> None:
        """Strike out the last event: ``handle`` refused it."""
        self.events -= 1
        self.entries.pop()

    def decided(self, now_us: int, decisions: Sequence[Decision]) -> None:
        """Note a call of ``decide`` and what it returned."""
        self.decides += 1
        self.decisions += len(decisions)
        entries, probes = self.entries, self.probes
        entries.append(DecideEntry(len(entries) + 1, now_us))
        for decision in decisions:
            entries.append(DecisionEntry(len(entries) + 1, decision))
            probes[f"{type(decision).__name__} {decision.because.reason}"] += 1
            if isinstance(decision, RunBatch):
                for dispatch in decision.dispatched:
                    probes[f"Dispatch {dispatch.because.reason}"] += 1

    def ended(self, digest: str) -> None:
        """Close the trace."""
        self.entries.append(EndEntry(len(self.entries) + 1, digest, self.events, self.decisions))

    def passed(self, core: Scheduler) -> None:
        """Look, where it is time to; raise :class:`~astraea.errors.InvariantError` for a broken claim."""
        self._verbs += 1
        if self._look_every and self._verbs % self._look_every == 0:
            self.look(core)

    def look(self, core: Scheduler) -> None:
        """Judge the snapshot and count the rare states that it shows."""
        view = core.snapshot()
        check_snapshot(view, self._limits, self._guarded)
        seen = {f"kv {cache.state}" for cache in view.caches} | {f"turn {turn.state}" for turn in view.turns}
        self.probes.update(sorted(seen - _COMMON))
        self.probes.update(chain(["open turn"] * (view.open_turn is not None)))
