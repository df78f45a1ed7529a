"""Rivals that judge caches, by cases worked out by hand: infercept, mars and continuum."""

from __future__ import annotations

import pytest
from attrs import evolve
from told import LIMITS, Told, held, waiting

from astraea import Tuning
from astraea.policy.ledger import Ledger
from astraea.policy.state import Prefix
from astraea.rivals import make_policy
from astraea.rivals.continuum import COLD_TTL_US, ENOUGH, Durations, TurnsLeft
from astraea.rivals.mars import STARVATION_STEPS
from astraea.rivals.service import running_tokens

HOST = evolve(LIMITS, host_blocks=50)


def used(blocks, limits=LIMITS):
    """A ledger in which so many blocks are held by running turns."""
    ledger = Ledger(limits)
    ledger.device_free -= blocks
    return ledger


def may(policy, victim, ledger, now_us=0, *, ranks_before=False, lossless=False):
    turn = waiting(10)
    return policy.memory.may_evict_protected(
        turn, victim, ledger, now_us, ranks_before=ranks_before, lossless=lossless
    )  # fmt: skip


def test_what_runs_is_what_is_neither_free_nor_frozen_nor_evictable():
    ledger = used(60)
    ledger.park(held(200))
    prefix = Prefix("acme", "tools", 50, 5, device_blocks=5)
    ledger.park(prefix)
    ledger.quarantine(3)
    assert running_tokens(LIMITS, ledger) == (60 - 20 - 5 - 3) * 10


# infercept


def test_infercept_wastes_by_eqs_2_and_4():
    limits = evolve(LIMITS, step_tokens_max=50)
    policy = make_policy("infercept", limits)
    # 200 tokens in 4 chunks: 4 steps of 10 us and 200 us for half of them, and 200 us for the others' 800.
    assert policy.memory.discard_waste(200, 800) == 240_000 * 200 // 2 + 200_000 * 800 == 184_000_000
    # To preserve 200 tokens wastes as much after 920 us, and with nobody else after 120 us.
    cache, ledger = held(200), used(80)
    assert [may(policy, cache, ledger, now_us) for now_us in (920, 921)] == [False, True]
    assert [may(policy, cache, used(0), now_us) for now_us in (120, 121)] == [False, True]
    # At the latest the whole rest of the pool, 800 tokens, is others'.
    assert policy.memory.keep_until_us(cache, ledger, 5) == 5 + 920 + 1
    assert policy.memory.keep_until_us(held(0), ledger, 5) == 5


def test_infercept_swaps_what_the_host_has_room_for_at_any_time():
    policy = make_policy("infercept", HOST)
    assert may(policy, held(200), used(80), 0, lossless=True)
    assert may(policy, None, used(80))


def test_infercept_keeps_what_a_request_waits_for_by_order():
    policy = make_policy("infercept", LIMITS)
    resumed = waiting(100)
    for ranks_before in (False, True):
        assert may(policy, resumed.context, used(80), 10**9, ranks_before=ranks_before) is ranks_before


def test_infercept_serves_resident_then_swapped_then_waiting_requests_each_by_original_arrival():
    policy = make_policy("infercept", HOST)
    sizes = [policy.size(waiting(100), *where, 0) for where in ((50, 80), (0, 80), (0, 0))]
    early, late = waiting(10, arrival=1).job, waiting(10, arrival=2).job
    keys = [policy.queue.key(job, size, 9, 0) for size in sizes for job in (early, late)]
    assert keys == sorted(keys)


def test_infercept_resumes_by_arrival_of_the_job_and_not_of_the_turn():
    told = Told("infercept")
    told.arrive("a1", 100)
    told.arrive("b1", 100)
    told.serve(tools={"a1", "b1"})
    told.arrive("c1", 10)
    told.arrive("b2", 110, job="b1", reuse=100)
    told.arrive("a2", 110, job="a1", reuse=100)
    assert told.serve() == ["a1", "b1", "a2", "b2", "c1"]


# mars


def test_mars_ranks_by_tokens_held_over_time():
    policy = make_policy("mars", LIMITS)
    turn = waiting(100, output=4)
    # 100 tokens for 100 us of prefill; then 102 on average for 4 * 11 us. Token-microseconds:
    assert policy.size(turn, 0, 0, 0) == 100 * 100 + 102 * 44
    assert policy.size(turn, 60, 0, 0) == 100 * 40 + 102 * 44
    turn.sampled = 3  # preempted: 103 are known, one token is left
    assert policy.size(turn, 103 - 1, 0, 0) == (103 * 1_000 + 207 * 11_000 // 2) // 1_000
    unknown = waiting(100)
    assert policy.size(unknown, 0, 0, 0) == 100 * 100 + 105 * 110  # ten tokens by the prior


@pytest.mark.parametrize(
    ("wait_us", "limits", "call"),
    [
        (1_000, LIMITS, 104 * 104),  # longer than to compute 104 tokens again: discard
        (104, LIMITS, 104 * 104),  # as long: preserve
        (50, LIMITS, 104 * 50),
        (1_000, HOST, 104 * 104 * 2 // 10),  # there and back at a tenth of a microsecond a token: swap
    ],
)
def test_mars_adds_the_call_as_it_will_be_handled(wait_us, limits, call):
    limits = evolve(limits, tuning=Tuning(prior_output_tokens=10, prior_tool_wait_us=wait_us))
    policy = make_policy("mars", limits)
    policy.turn_ended(waiting(10), "", to_tool=True)
    turn = waiting(100, output=4)
    assert policy.size(turn, 0, 0, 0) == (100_000 * 100 + 102 * 44_000 + 1_000 * call) // 1_000
    policy.turn_ended(waiting(10), "", to_tool=False)  # now every other turn calls a tool
    assert policy.size(turn, 0, 0, 0) == (100_000 * 100 + 102 * 44_000 + 1_000 * call // 2) // 1_000


@pytest.mark.parametrize(("wait_us", "kept"), [(1_000, True), (1_001, False)])
def test_mars_preserves_by_eqs_1_and_2_at_the_call(wait_us, kept):
    # Discarding 200 tokens wastes 200 us * (200 + 800): as much as preserving them for 1,000 us.
    policy = make_policy("mars", evolve(LIMITS, tuning=Tuning(prior_tool_wait_us=wait_us)))
    assert (policy.memory.keep_until_us(held(200), used(80), 5) > 10**12) is kept


def test_mars_swaps_by_eq_3_where_there_is_a_host():
    # 2 * 20 us * 800 others: as much as preserving 200 tokens for 160 us.
    for wait_us, kept in ((160, True), (161, False)):
        policy = make_policy("mars", evolve(HOST, tuning=Tuning(prior_tool_wait_us=wait_us)))
        assert (policy.memory.keep_until_us(held(200), used(80, HOST), 5) > 5) is kept


def test_mars_expects_others_as_there_were_at_calls_before():
    policy = make_policy("mars", evolve(LIMITS, tuning=Tuning(prior_tool_wait_us=1_000)))
    policy.turn_ended(waiting(10), "", to_tool=True)
    for blocks in (80, 100):  # 900 tokens of others on average: 104 us * (104 + 900) is more than 1,000 us * 104
        policy.memory.keep_until_us(held(200), used(blocks), 0)
    size = policy.size(waiting(100, output=4), 0, 0, 0)
    assert size == 100 * 100 + 102 * 44 + 104 * 1_000


def test_mars_brings_what_waited_a_hundred_iterations_to_the_head_in_order_of_arrival():
    policy = make_policy("mars", LIMITS)
    turn, later = waiting(10, arrival=3), waiting(10, arrival=4)
    key = policy.queue.key
    policy.steps_done(7)
    assert key(turn.job, 500, turn.serial, 0) == (1, 500, 3, turn.serial)
    policy.steps_done(STARVATION_STEPS)
    assert key(turn.job, 500, turn.serial, 0)[0] == 1
    policy.steps_done(1)
    assert key(turn.job, 500, turn.serial, 0) == (0, 3, turn.serial)
    assert key(later.job, 1, later.serial, 0) == (1, 1, 4, later.serial)  # first seen now
    turn.preemptions = 1
    assert key(turn.job, 500, turn.serial, 0)[0] == 1  # it has run since
    assert key(turn.job, 500, 0, 0)[0] == 1  # waits for a tool


def test_mars_leaves_what_is_preserved_to_its_request_until_it_was_preempted():
    policy = make_policy("mars", LIMITS)
    turn = waiting(110)
    cache = turn.context
    turn.context.turn = None
    cache.waits_for, cache.keep_until_us = "grep", policy.memory.keep_until_us(held(200), used(80), 0) | 1 << 62
    assert not may(policy, cache, used(80), ranks_before=True)
    policy.tool_returned(cache, 50)
    cache.turn, cache.keep_until_us = turn, 0
    assert not may(policy, cache, used(80), ranks_before=True)
    turn.preemptions = 1
    assert may(policy, cache, used(80), ranks_before=True)
    assert not may(policy, cache, used(80), ranks_before=False)
    assert may(policy, None, used(80))
    discarded = waiting(110).context
    assert may(policy, discarded, used(80), ranks_before=True)


def test_mars_serves_the_least_memory_over_time():
    told = Told("mars")
    told.arrive("wide", 60, output=1)  # 60 * 60 + 60.5 * 11
    told.arrive("long", 20, output=5)  # 20 * 20 + 22.5 * 55
    told.arrive("short", 30, output=1)  # 30 * 30 + 30.5 * 11
    assert told.serve() == ["short", "long", "wide"]


# continuum


def test_continuum_takes_the_time_that_is_worth_most():
    durations = Durations()
    for seconds in (10, 1, 3, 2):
        durations.add(seconds)
    # P(t) 6 - t is 0.5, 1, 1.5 and -4 at 1, 2, 3 and 10.
    assert durations.best_us(6) == 3
    # P(t) 4 - t is 0 at 1, 2 and 3: the longest of them.
    assert durations.best_us(4) == 3
    assert durations.best_us(3) == 0
    assert durations.best_us(100) == 10


def test_continuum_forgets_all_but_the_last_thousand_durations():
    durations = Durations()
    for _ in range(1_000):
        durations.add(5)
    durations.add(2)
    for _ in range(999):
        durations.add(7)
    assert len(durations) == 1_000
    assert durations.best_us(1) == 0
    durations.add(7)  # the 2 is the oldest now
    durations.add(7)
    assert durations.best_us(10**6) == 7
    assert len(durations) == 1_000


def test_continuum_measures_how_regular_programs_are():
    turns = TurnsLeft()
    assert turns.eta_permille() == 1_000
    turns.add(3)  # (1, 2), (2, 1), (3, 0): the more are done, the fewer are left
    assert turns.eta_permille() == 1_000
    turns.add(1)  # and (1, 0): the sum of products is -5, those of squares 11 each, over 4 pairs
    assert turns.eta_permille() == 5_000 // 11
    for _ in range(100):
        turns.add(1)
    turns.add(10)  # many that end at once: who has done more has more left
    assert turns.eta_permille() == 0


def test_continuum_pins_for_a_second_until_a_hundred_durations_are_known():
    policy = make_policy("continuum", LIMITS)
    memory = policy.memory
    for i in range(ENOUGH):
        assert memory.ttl_us("grep", 200) == COLD_TTL_US
        policy.tool_returned(held(200), 1_000 if i % 2 else 1_000_000)
    # P(1 ms) = 1/2 and P(1 s) = 1; what is at stake is 200 us of prefill: neither is worth it.
    assert memory.ttl_us("grep", 200) == 0
    assert memory.keep_until_us(held(200), used(0), 5) == 5
    memory.delays_us += [500_000, 1_500_000]
    # With a queue delay of 1 s: 500,100 - 1,000 us against 1,000,200 - 1,000,000 us.
    assert memory.ttl_us("grep", 200) == 1_000
    assert memory.keep_until_us(held(200), used(0), 5) == 5 + 1_000 + 1
    memory.delays_us.append(7_000_000)
    # With 3 s: 1,500,100 - 1,000 us against 3,000,200 - 1,000,000 us.
    assert memory.ttl_us("grep", 200) == 1_000_000
    assert memory.ttl_us("unheard-of", 200) == 1_000_000
    # Where the number of turns says nothing, only the reload counts.
    memory.turns_left.add(1)
    for turns in (1,) * 200 + (10,):
        memory.turns_left.add(turns)
    assert memory.ttl_us("grep", 200) == 0


def test_continuum_reloads_by_the_cheaper_way():
    assert make_policy("continuum", LIMITS).memory.reload_us(200) == 200
    assert make_policy("continuum", HOST).memory.reload_us(200) == 20


@pytest.mark.parametrize(("late_us", "order"), [(0, ["a2", "b2"]), (2, ["b2", "a2"])])
def test_continuum_serves_pinned_programs_before_others_and_each_by_arrival(late_us, order):
    told = Told("continuum")
    told.arrive("a1", 100)
    told.arrive("b1", 100)
    told.serve(tools={"a1", "b1"})
    told.arrive("c1", 10)
    told.arrive("b2", 110, job="b1", reuse=100, wait_us=COLD_TTL_US - 2)
    # a's tool returned at the last moment of its time to live, or just after.
    told.now_us = 1 + COLD_TTL_US
    told.arrive("a2", 110, job="a1", reuse=100, wait_us=late_us)
    assert told.serve()[2:] == [*order, "c1"]


def test_continuum_serves_preempted_requests_first_and_protects_what_is_pinned():
    policy = make_policy("continuum", LIMITS)
    turn = waiting(100, new=10)
    turn.context.waits_since_us, turn.context.keep_until_us = 0, 51
    turn.context.waits_for = "grep"
    policy.tool_returned(turn.context, 50)
    sizes = [policy.size(turn, 0, 0, 60), policy.size(turn, 90, 0, 60)]
    turn.preemptions = 1
    sizes.append(policy.size(turn, 90, 0, 60))
    assert sizes == [3, 2, 1]
    for size, gone in ((3, True), (2, False), (1, False)):
        turn.size = size
        assert may(policy, turn.context, used(0), ranks_before=True) is gone
    assert not may(policy, held(200), used(0), ranks_before=True, lossless=True)
    assert may(policy, None, used(0))


def test_continuum_learns_the_queue_delay_of_requests_that_had_lost_their_cache():
    told = Told("continuum")
    delays = told.core.policy.memory.delays_us
    told.arrive("a1", 600)
    told.serve(tools={"a1"})
    told.arrive("b1", 900, wait_us=COLD_TTL_US + 2)  # its prompt takes most of a's cache
    told.serve(tools={"b1"})
    assert list(delays) == []  # neither had any
    told.arrive("a2", 610, job="a1", reuse=600)
    told.now_us += 70
    told.serve()
    assert list(delays) == [70]
