"""LIVE-1's bookkeeping seen from the outside: even a broken rule 1 is counted, so that it shows."""

from astraea.policy.guard import BypassGuard
from astraea.policy.state import Job, Session


def jobs_in_order(guard, count):
    jobs = [Job("acme", f"j{n}", n, 0, Session("acme", f"s{n}")) for n in range(1, count + 1)]
    for job in jobs:
        guard.enter(job)
        job.waiting_turns = 1
        guard.wait_begins(job)
    return jobs


def dispatch(guard, job):
    job.waiting_turns = 0
    guard.dispatched(job, still_waits=False)


def test_live_1_a_job_is_promoted_at_the_very_dispatch_that_brings_it_to_k():
    guard = BypassGuard(2)
    first, second, third, _ = jobs_in_order(guard, 4)
    dispatch(guard, third)
    assert (guard.bypasses(first), guard.bypasses(second), guard.head) == (1, 1, None)
    dispatch(guard, second)
    assert (guard.bypasses(first), first.promoted, guard.head) == (2, True, first)


def test_live_1_a_dispatch_past_a_promoted_job_is_counted_beyond_k():
    guard = BypassGuard(1)
    first, second, third, fourth = jobs_in_order(guard, 4)
    dispatch(guard, third)
    assert [job.promoted for job in (first, second, fourth)] == [True, True, False]
    dispatch(guard, fourth)  # the admission would not do it
    assert [guard.bypasses(job) for job in (first, second)] == [2, 2]
    dispatch(guard, second)
    assert [guard.bypasses(job) for job in (first, second)] == [3, 2]


def test_an_unguarded_policy_counts_and_promotes_nobody():
    guard = BypassGuard(None)
    first, second = jobs_in_order(guard, 2)
    dispatch(guard, second)
    assert (guard.bypasses(first), first.promoted, guard.head) == (1, False, None)
