"""The examination as a test: a Hypothesis state machine over an adapter, for pytest and its profiles.

TestMine = conformance_machine(MyAdapter).TestCase
"""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from astraea.errors import InvariantError, UsageError
from astraea.testing.adapter import Factory
from astraea.testing.claims import CLAIMS
from astraea.testing.moves import Advance, Arrive, Cancel, CancelAll, Job, Move, Shape
from astraea.testing.run import Run
from astraea.testing.strategies import jobs
from astraea.testing.twins import other_future, same_again

__all__ = ["ConformanceMachine", "conformance_machine"]


class ConformanceMachine(RuleBasedStateMachine):
    """Drives one adapter with every move, and raises :class:`InvariantError` at the first breach of a claim."""

    factory: Factory
    claims: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.played = Run(type(self).factory)
        self.moves: list[Move] = []

    def _make(self, move: Move) -> None:
        self.moves.append(move)
        self.played.make(move)
        self._judge()

    def _judge(self) -> None:
        for claim, sentence in self.played.watch.breaches.items():
            if claim in self.claims:
                calls = "\n  ".join(self.played.sentences())
                raise InvariantError(claim, f"{sentence}\n  {calls}")

    @rule(steps=st.integers(1, 8))
    def advance(self, steps: int) -> None:
        """Make steps."""
        self._make(Advance(steps))

    @precondition(lambda self: self.played.watch.live())
    @rule(choice=st.integers(0, 7))
    def cancel(self, choice: int) -> None:
        """Let a client go away."""
        self._make(Cancel(choice))

    @precondition(lambda self: self.played.watch.live())
    @rule()
    def cancel_all(self) -> None:
        """Let all clients go away at once."""
        self._make(CancelAll())

    def teardown(self) -> None:
        """Let all come to rest, then repeat the run as it was and with another future."""
        self.played.finish()
        self._judge()
        twins = {"INV-7": same_again, "INV-9": other_future}
        for claim, twin in twins.items():
            difference = twin(type(self).factory, self.moves, self.played) if claim in self.claims else None
            if difference is not None:
                raise InvariantError(claim, difference.sentence)


def conformance_machine(
    factory: Factory, *, claims: Collection[str] = tuple(CLAIMS), max_examples: int = 60, steps: int = 30
) -> type[ConformanceMachine]:
    """Return a state machine for the scheduler that ``factory`` makes; its ``TestCase`` is a test for pytest.

    LIVE-1 is judged here only against a declared ``bypass_bound``; :func:`astraea.testing.examine` does more.
    """
    unknown = [claim for claim in claims if claim not in CLAIMS]
    if unknown:
        raise UsageError(f"There is no claim {unknown[0]!r} here. The claims are {', '.join(CLAIMS)}.")
    shape = Shape.of(factory())
    bursts = st.lists(jobs(shape), min_size=1, max_size=4)

    class Machine(ConformanceMachine):
        @rule(burst=bursts)
        def arrive(self, burst: list[Job]) -> None:
            """Let jobs arrive."""
            self._make(Arrive(tuple(burst)))

    Machine.factory = staticmethod(factory)
    Machine.claims = frozenset(claims)
    Machine.__name__ = Machine.__qualname__ = f"Conformance_{getattr(factory, '__name__', 'machine')}"
    Machine.TestCase.settings = settings(max_examples=max_examples, stateful_step_count=steps, deadline=None)
    return Machine
