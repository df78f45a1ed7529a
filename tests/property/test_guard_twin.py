"""LIVE-1: the guard's clocks against a scan of all jobs, slots so few that they are renumbered again and again."""

from __future__ import annotations

import random

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from astraea.policy import guard as guard_module
from astraea.policy.guard import BypassGuard
from astraea.policy.passes import PassCounter
from astraea.policy.state import Job

OPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "wait", "wait", "dispatch", "dispatch", "give up", "leave"]), st.integers(0, 30)
    ),
    max_size=120,
)


@define(eq=False)
class Twin:
    """One job, counted by its definition."""

    job: Job
    bypasses: int = 0
    promoted: bool = False


class Guarded:
    """Drives the guard as admission does, and the scan beside it."""

    def __init__(self, bound):
        self.guard = BypassGuard(bound)
        self.bound = bound
        self.twins: list[Twin] = []
        self.arrivals = 0

    def do(self, op, choice):
        if op == "enter":
            self.enter()
        elif self.twins:
            getattr(self, op.replace(" ", "_"))(self.twins[choice % len(self.twins)])
        self.agree()

    def enter(self):
        self.arrivals += 1
        job = Job("ann", f"j{self.arrivals}", self.arrivals, 0, None)
        self.guard.enter(job)
        self.twins.append(Twin(job))

    def wait(self, twin):
        twin.job.waiting_turns += 1
        if twin.job.waiting_turns == 1:
            self.guard.wait_begins(twin.job)
        self.promote()

    def give_up(self, twin):
        if twin.job.waiting_turns:
            twin.job.waiting_turns -= 1
            if not twin.job.waiting_turns:
                self.guard.wait_ends(twin.job)

    def dispatch(self, twin):
        if not twin.job.waiting_turns:
            return
        twin.job.waiting_turns -= 1
        self.guard.dispatched(twin.job, still_waits=twin.job.waiting_turns > 0)
        for other in self.twins:
            if other.job.arrival < twin.job.arrival and other.job.waiting_turns:
                other.bypasses += 1
        self.promote()

    def promote(self):
        for twin in self.twins:
            if self.bound is not None and twin.job.waiting_turns and twin.bypasses >= self.bound:
                twin.promoted = True

    def leave(self, twin):
        while twin.job.waiting_turns:
            self.give_up(twin)
        self.guard.leave(twin.job)
        self.twins.remove(twin)

    def legal(self, twin):
        """Whether the core may dispatch it now: no earlier promoted job waits."""
        return not any(t.promoted and t.job.waiting_turns and t.job.arrival < twin.job.arrival for t in self.twins)

    def agree(self):
        heads = [t.job for t in self.twins if t.promoted and t.job.waiting_turns]
        assert self.guard.head is (heads[0] if heads else None)
        for twin in self.twins:
            assert (self.guard.bypasses(twin.job), twin.job.promoted) == (twin.bypasses, twin.promoted), twin


@pytest.fixture(autouse=True, params=[0, 1, 6])
def _few_slots(request, monkeypatch):
    monkeypatch.setattr(guard_module, "_FIRST_SLOTS", 2)
    monkeypatch.setattr(guard_module, "_GROUP_BITS", request.param)


def play(guarded, ops):
    for op, choice in ops:
        if op == "dispatch" and guarded.twins and not guarded.legal(guarded.twins[choice % len(guarded.twins)]):
            continue  # nothing of a later job passes a promoted one; see admission
        guarded.do(op, choice)


@given(st.lists(st.integers(0, 999), max_size=60), st.integers(0, 999), st.integers(0, 6))
def test_dispatches_are_counted_as_a_scan_of_all_of_them_does(dispatches, slot, bits):
    counter = PassCounter(1_000, bits)
    for origin in dispatches:
        counter.count(origin)
    group = slot >> bits
    assert counter.later(slot) == sum(1 for origin in dispatches if origin > slot)
    assert counter.since(group) == sum(1 for origin in dispatches if origin >> bits >= group)
    inside = [origin for origin in dispatches if origin >> bits == group]
    slots = range(group << bits, min((group + 1) << bits, 1_000))
    assert list(counter.up_to(group)) == [sum(1 for origin in inside if origin <= slot) for slot in slots]


@given(bound=st.one_of(st.none(), st.integers(0, 6)), ops=OPS)
@settings(max_examples=150)
def test_live_1_the_guard_counts_as_a_scan_of_all_jobs_does(bound, ops):
    play(Guarded(bound), ops)


@given(bound=st.integers(1, 6), ops=OPS)
@settings(max_examples=100)
def test_no_job_is_bypassed_more_often_than_the_bound(bound, ops):
    guarded = Guarded(bound)
    play(guarded, ops)
    assert all(twin.bypasses <= bound for twin in guarded.twins)


def test_live_1_the_guard_counts_as_a_scan_does_on_long_runs():
    # Hypothesis draws mostly short lists, and a wait that ends and begins again after bypasses takes long ones.
    names = ["enter", "wait", "wait", "dispatch", "dispatch", "give up", "leave"]
    for seed in range(150):
        rng = random.Random(seed)
        ops = [(rng.choice(names), rng.randrange(31)) for _ in range(120)]
        play(Guarded(rng.randrange(7)), ops)


def test_the_scan_sees_a_guard_that_promotes_one_dispatch_late():
    guarded = Guarded(1)
    guarded.guard = BypassGuard(2)
    with pytest.raises(AssertionError):
        play(guarded, [("enter", 0), ("enter", 0), ("wait", 0), ("wait", 1), ("dispatch", 1)])
