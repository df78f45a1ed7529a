"""Turns whose caches do not fit side by side do not take them from each other for ever, however they are ranked."""

from __future__ import annotations

import pytest

from astraea import EngineCosts, Limits, Scheduler
from astraea.decisions import RunBatch, SwapIn, SwapOut
from astraea.events import BatchDone, Outcome, SwapDone, TurnArrived, TurnOutcome
from astraea.policy.astraea import LearningPolicy
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.ranking import ScanQueue

COSTS = EngineCosts(
    step_ns=10_000, prefill_ns_per_token=1_000, read_ps_per_context_token=0, attention_ps_per_token_pair=0,
    swap_ns_per_token=1,
)  # fmt: skip
LIMITS = Limits(device_blocks=16, host_blocks=64, block_tokens=4, costs=COSTS)


class LongestFirst(LearningPolicy):
    """Ranks last whose cache is on the device, and lets everyone evict everyone."""

    def __init__(self, limits):
        super().__init__(limits)
        self.memory = LeastRecentlyUsed(limits)
        self.queue = ScanQueue(lambda job, size, serial, now_us: (-size, serial))


class Engine:
    """Reports what is owed at once; copies to the host fail if they are said to."""

    def __init__(self, *, copies_fail=False):
        self.core = Scheduler(LIMITS, LongestFirst(LIMITS))
        self.copies_fail = copies_fail
        self.now_us = 0
        self.copies = []

    def arrive(self, session, turn, prompt):
        self.now_us += 1
        self.core.handle(TurnArrived(self.now_us, "acme", session, session, turn, "main", prompt, prompt - 1, 4))

    def rounds_until_all_ended(self, *, at_most):
        """Go round until no turn is live; every turn ends with its first token, by a call of a tool."""
        for done in range(at_most):
            self.now_us += 1
            for decision in self.core.decide(self.now_us):
                if isinstance(decision, RunBatch):
                    ended = tuple(TurnOutcome(c.turn_id, Outcome.TOOL_CALL, "grep") for c in decision.chunks)
                    self.core.handle(BatchDone(self.now_us, decision.batch_id, 1, ended))
                elif isinstance(decision, SwapIn | SwapOut):
                    self.copies.append(type(decision).__name__)
                    failed = self.copies_fail and isinstance(decision, SwapOut)
                    self.core.handle(SwapDone(self.now_us, decision.op_id, failed))
            if not self.core.snapshot().turns:
                return done
        return None


def both_have_been_on_the_host(engine):
    """Let two sessions work in turn, so that each has its whole cache on the host."""
    for turn, prompt in enumerate((36, 40)):
        for session in ("a", "b"):
            engine.arrive(session, f"{session}{turn}", prompt)
            assert engine.rounds_until_all_ended(at_most=10) is not None


def test_what_came_back_from_the_host_for_a_turn_is_not_taken_before_the_turn_ran():
    engine = Engine()
    both_have_been_on_the_host(engine)
    engine.copies.clear()
    engine.arrive("a", "a9", 44)
    engine.arrive("b", "b9", 44)
    assert engine.rounds_until_all_ended(at_most=20) is not None, engine.copies


def test_where_every_copy_to_the_host_fails_the_turns_run_all_the_same():
    engine = Engine(copies_fail=True)
    engine.arrive("a", "a0", 36)
    assert engine.rounds_until_all_ended(at_most=10) is not None
    engine.arrive("b", "b0", 40)
    assert engine.rounds_until_all_ended(at_most=20) is not None, engine.copies


@pytest.mark.parametrize("copies_fail", [False, True])
def test_turns_of_many_sessions_end(copies_fail):
    engine = Engine(copies_fail=copies_fail)
    for turn, prompt in enumerate((28, 32, 36, 40)):
        for session in "abcde":
            engine.arrive(session, f"{session}{turn}", prompt)
        assert engine.rounds_until_all_ended(at_most=60) is not None, engine.copies
