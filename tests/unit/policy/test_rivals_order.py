"""Rivals that only order turns, by cases worked out by hand: hrrn, sjf-predicted, plas and mlfq."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attrs import evolve
from told import LIMITS, Told, waiting

from astraea import EngineCosts
from astraea.rivals import make_policy
from astraea.rivals.mlfq import STARVATION_US, queue_of
from astraea.rivals.plas import BETA, QUEUES

SLOW = evolve(
    LIMITS,
    costs=EngineCosts(
        step_ns=10_000_000, prefill_ns_per_token=1_000_000, read_ps_per_context_token=0, attention_ps_per_token_pair=0
    ),
)
"""A token of prefill takes 1 ms, one of output 11 ms."""


# hrrn


@pytest.mark.parametrize(("wait_us", "first"), [(5, "long"), (6, "tie"), (7, "short")])
def test_hrrn_orders_by_wait_over_uncached_input(wait_us, first):
    told = Told("hrrn")
    told.arrive("long", 90)
    told.arrive("short", 10, wait_us=48)
    told.now_us += wait_us
    # W / S is (48 + x) / 90 for long and x / 10 for short: alike where 9 x = 48 + x, at x = 6; then the earlier turn.
    assert told.serve()[0] == ("short" if first == "short" else "long")


def test_hrrn_counts_no_output_and_no_cached_input():
    told = Told("hrrn")
    told.arrive("a1", 100)
    told.serve(tools={"a1"})
    told.arrive("b1", 20, output=1)
    told.arrive("a2", 110, job="a1", reuse=100, output=5)
    told.now_us += 40
    # 100 of a2's 110 tokens stand on the device: 40 / 10 against 40 / 20.
    assert told.serve() == ["a1", "a2", "b1"]


def test_hrrn_counts_the_wait_of_the_turn_alone_and_anew_after_a_preemption():
    policy = make_policy("hrrn", LIMITS)
    turn = waiting(10)
    policy.size(turn, 0, 0, 100)
    policy.size(turn, 0, 0, 130)  # its residency changed: it waits on
    key = policy.queue.key
    # 40 us over 10 tokens ranks as 400 us over 100 do.
    assert key(turn.job, 10, turn.serial, 140) == key(turn.job, 100, turn.serial, 500)
    turn.preemptions = 1
    policy.size(turn, 0, 0, 200)
    assert key(turn.job, 10, turn.serial, 240) == key(turn.job, 100, turn.serial, 600)
    # A job that waits for a tool has no turn that waits.
    assert key(turn.job, 10, 0, 240)[0] == 0


# sjf-predicted


def test_sjf_serves_the_shortest_predicted_turn_however_long_others_wait():
    told = Told("sjf-predicted")
    # 60 and 40 us of prefill, and for each the ten tokens at 11 us of the prior.
    told.arrive("long", 60)
    told.arrive("short", 40, output=5, wait_us=10**9)
    assert told.serve() == ["short", "long"]


def test_sjf_predicts_from_completed_turns_and_counts_what_is_missing_and_left():
    policy = make_policy("sjf-predicted", LIMITS)
    turn = waiting(100)
    assert policy.size(turn, 80, 0, 0) == 20 + 10 * 11
    policy.predictor.learn_turn(0, "", 30, 0)
    assert policy.size(turn, 80, 0, 0) == 20 + 30 * 11
    assert policy.size(turn, 80, 90, 0) == 10 + 30 * 11
    turn.sampled = 28  # preempted after 28 tokens: 128 are known, 2 are expected
    assert policy.size(turn, 80, 0, 0) == 48 + 2 * 11
    turn.sampled = 40
    assert policy.size(turn, 80, 0, 0) == 60 + 1 * 11


# plas


def test_plas_serves_the_program_that_attained_least_and_within_a_queue_who_came_first():
    told = Told("plas", SLOW)
    told.arrive("a1", 200)
    told.arrive("b1", 60)
    told.serve(tools={"a1", "b1"})
    told.arrive("a2", 205, job="a1", reuse=200)
    told.arrive("b2", 65, job="b1", reuse=60)
    told.arrive("c1", 300)
    # a has attained 200 + 11 ms: the third queue, of 200 to 400 ms. b has 60 + 11 ms and c nothing: the first.
    assert told.serve() == ["a1", "b1", "b2", "c1", "a2"]


def test_plas_adds_up_the_longest_path_of_parallel_calls():
    policy = make_policy("plas", SLOW)
    job = waiting(100).job
    (root,) = job.turns.values()
    assert policy.size(root, 0, 0, 0) == 1
    policy.turn_ended(root, "", to_tool=True)  # 100 ms, no output
    branches = [waiting(50, job=job), waiting(80, job=job)]
    for branch in branches:
        assert policy.size(branch, 0, 0, 0) == 1 + 100_000
    for branch in branches:
        policy.turn_ended(branch, "", to_tool=True)
    # 100 + 50 ms and 100 + 80 ms; the sum would be 230 ms.
    assert policy.size(waiting(10, job=job), 0, 0, 0) == 1 + 180_000


def test_plas_counts_what_a_preempted_call_has_taken():
    policy = make_policy("plas", SLOW)
    turn = waiting(100)
    assert policy.size(turn, 40, 0, 0) == 1  # 60 ms of prefill are missing
    assert policy.size(turn, 30, 0, 0) == 1  # and now 70
    turn.preemptions, turn.sampled = 1, 3
    assert policy.size(turn, 103, 0, 0) == 1 + 70_000 + 3 * 11_000


@pytest.mark.parametrize(
    ("attained_us", "queue"), [(0, 0), (99_999, 0), (100_000, 1), (199_999, 1), (200_000, 2), (10**12, QUEUES - 1)]
)
def test_plas_has_queues_whose_ranges_double(attained_us, queue):
    policy = make_policy("plas", SLOW)
    job = SimpleNamespace(wait_at=lambda _now_us: 0)
    assert policy.queue.key(job, attained_us + 1, 7, 0) == (queue, 7)


def test_plas_promotes_a_call_whose_program_waited_beta_times_its_service():
    policy = make_policy("plas", SLOW)
    job = SimpleNamespace(wait_at=lambda now_us: now_us)
    assert policy.queue.key(job, 211_001, 7, BETA * 211_000 - 1) == (2, 7)
    assert policy.queue.key(job, 211_001, 7, BETA * 211_000) == (0, 7)


# mlfq


@pytest.mark.parametrize(
    ("prefill_us", "used_us", "queue"),
    [
        (1, 0, 0), (10_000, 0, 0), (10_001, 0, 1), (20_000, 0, 1), (20_001, 0, 2), (40_001, 0, 3),
        # 10 and 20 ms are used up in the first two queues.
        (5_000, 10_000, 0), (5_000, 10_001, 1), (5_000, 30_000, 1), (5_000, 30_001, 2), (20_000, 20_001, 2),
    ],
)  # fmt: skip
def test_mlfq_joins_the_first_queue_whose_quantum_covers_the_prefill(prefill_us, used_us, queue):
    assert queue_of(prefill_us, used_us) == queue


def test_mlfq_skips_queues_by_what_is_missing_of_the_prompt():
    told = Told("mlfq", SLOW)
    told.arrive("a1", 100)
    told.serve(tools={"a1"})
    told.arrive("long", 41)  # 41 ms: the fourth queue
    told.arrive("b1", 15)  # 15 ms: the second
    told.arrive("a2", 110, job="a1", reuse=100)  # 10 ms are missing: the first
    told.arrive("c1", 20)
    assert told.serve() == ["a1", "a2", "b1", "c1", "long"]


def test_mlfq_brings_a_starving_turn_to_the_head_of_the_first_queue():
    policy = make_policy("mlfq", SLOW)
    turn = waiting(41)
    size = policy.size(turn, 0, 0, 1_000)
    assert policy.queue.key(turn.job, size, turn.serial, 1_000 + STARVATION_US - 1) == (4, 0, turn.serial)
    starving = policy.queue.key(turn.job, size, turn.serial, 1_000 + STARVATION_US)
    assert starving < (1, 0, 0)
    assert starving < (0, 1 - STARVATION_US, 0)  # who starves longer goes first
    turn.preemptions, turn.sampled = 1, 3  # it has run: 33 ms of its quantum of 80
    assert policy.size(turn, 0, 0, 10**9) == size
    assert policy.queue.key(turn.job, size, turn.serial, 10**9 + 5) == (4, 0, turn.serial)
