"""What a policy is told beside sizes: whose cache is asked for, by whom and when, and how many steps were run."""

from __future__ import annotations

from told import LIMITS, Told

from astraea import Scheduler
from astraea.rivals.fcfs import Fcfs
from astraea.rivals.service import ByRank


class Asked(ByRank):
    """Notes what is asked of it, and says no."""

    def __init__(self, limits):
        super().__init__(limits)
        self.questions = []

    def may_evict_protected(self, turn, victim, ledger, now_us, *, ranks_before, lossless):
        free = ledger.device_free
        self.questions.append((turn.turn_id, victim and victim.session.session_id, free, now_us, ranks_before))
        return victim is None


class Counted(Fcfs):
    """Counts the steps."""

    def __init__(self, limits):
        super().__init__(limits)
        self.memory = Asked(limits)
        self.steps = []

    def steps_done(self, steps):
        self.steps.append(steps)


def told_by():
    told = Told("fcfs")
    told.core = Scheduler(LIMITS, Counted(LIMITS))
    return told


def test_a_policy_is_asked_whose_cache_may_go_for_whom():
    told = told_by()
    told.arrive("c1", 600)
    told.serve(tools={"c1"})
    told.arrive("d1", 500, wait_us=5)
    told.arrive("c2", 610, job="c1", reuse=600)
    now_us = told.now_us
    told.serve()
    # d1 needs 10 blocks more than the 40 that are free; c2 waits for its cache, and came later.
    assert told.core.policy.memory.questions[:2] == [("d1", None, 40, now_us, True), ("d1", "c1", 40, now_us, True)]


def test_a_policy_is_told_how_many_steps_were_run():
    told = told_by()
    told.arrive("a1", 600)
    told.arrive("b1", 20)
    told.serve()
    assert told.core.policy.steps == [1, 1]
