"""Each published policy by a case that was worked out by hand: its order, its memory rules, what it gives up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from told import COSTS, LIMITS, Told, held

from astraea import Limits, Tuning, UsageError
from astraea.events import Hints, Oracle
from astraea.policy.ledger import Ledger
from astraea.policy.pressure import KeepByReuse, LeastRecentlyUsed
from astraea.policy.protocol import Blocking
from astraea.rivals import POLICIES, make_policy, policy_names
from astraea.rivals.astraea_paper import AGEING_RATIO, WATERMARK_PERMILLE, MinWaste
from astraea.rivals.continuum import TimeToLive
from astraea.rivals.hrrn_turn import scaled_ratio
from astraea.rivals.infercept import InterceptionWaste
from astraea.rivals.mars import PredictedHandling
from astraea.rivals.service import ByRank


def test_fcfs_serves_turns_in_their_order_whoever_sent_them():
    told = Told("fcfs")
    told.arrive("a1", 100)
    told.serve(tools={"a1"})
    told.arrive("b1", 10)
    told.arrive("a2", 110, job="a1", reuse=100)
    told.arrive("c1", 10)
    assert told.serve() == ["a1", "b1", "a2", "c1"]


@pytest.mark.parametrize("policy", ["job-fcfs", "job-fcfs-kept"])
def test_job_fcfs_serves_the_earlier_jobs_turn_first(policy):
    told = Told(policy)
    told.arrive("a1", 100)
    told.serve(tools={"a1"})
    told.arrive("b1", 10)
    told.arrive("c1", 10)
    told.arrive("a2", 110, job="a1", reuse=100)
    assert told.serve() == ["a1", "a2", "b1", "c1"]


def test_the_oracle_serves_the_least_that_is_truly_left_missing_prompt_included():
    told = Told("srpt-oracle")
    told.arrive("long", 10, remaining_us=5_000)
    told.arrive("short", 10, remaining_us=900)
    told.arrive("prompt", 300, remaining_us=800)  # 300 us of prefill more
    assert told.serve() == ["short", "prompt", "long"]


def test_hrrn_serves_the_highest_ratio_of_the_turn():
    told = Told("hrrn-turn")
    # Predicted: prefill at 1 us a token and ten tokens of output at 11 us: 200 us and 120 us.
    told.arrive("long", 90)
    told.arrive("short", 10, wait_us=50)
    # 50 us later: (50 + 200) / 200 against 1.
    assert told.serve()[0] == "long"

    told = Told("hrrn-turn")
    told.arrive("long", 90)
    told.arrive("short", 10, wait_us=50)
    told.now_us += 100
    # 150 / 200 against 100 / 120.
    assert told.serve()[0] == "short"


def test_hrrn_counts_the_turns_own_wait_and_not_its_jobs():
    told = Told("hrrn-turn")
    told.arrive("a1", 10)
    told.arrive("b1", 10, wait_us=500)
    told.serve(tools={"a1", "b1"})
    told.arrive("b2", 30, job="b1", reuse=10, wait_us=100)
    told.arrive("a2", 30, job="a1", reuse=10, wait_us=1)  # its job waited 500 us, this turn not at all
    assert told.serve()[2:] == ["b2", "a2"]


def test_scaled_ratios_compare_like_the_ratios():
    assert scaled_ratio(1, 3) < scaled_ratio(334, 1_000) < scaled_ratio(1, 2)
    big = 1 << 40
    assert scaled_ratio(big - 2, big - 1) < scaled_ratio(big - 1, big)


# astraea-paper


def test_eq_4_orders_within_a_queue_by_wait_over_true_service():
    told = Told("astraea-paper")
    # T = prefill + output * (step + token): 20 + 10 * 11 = 130 us and 40 + 1 * 11 = 51 us, though its prompt is longer.
    told.arrive("a", 20, output=10)
    told.arrive("b", 40, output=1, wait_us=100)
    # 100 us later W / T is 200 / 130 for a and 100 / 51 for b.
    told.now_us += 100
    assert told.serve() == ["b", "a"]

    told = Told("astraea-paper")
    told.arrive("a", 20, output=10)
    told.arrive("b", 40, output=1, wait_us=400)
    told.now_us += 100
    # 500 / 130 against 100 / 51.
    assert told.serve() == ["a", "b"]


def test_eq_4_counts_the_wait_of_all_turns_and_the_uncached_prompt_alone():
    policy = make_policy("astraea-paper", LIMITS)
    turn = SimpleNamespace(goal_tokens=100, hints=Hints(oracle=Oracle(3, 0)))
    assert policy.size(turn, 0, 0, 0) == 100 + 3 * 11
    assert policy.size(turn, 80, 0, 0) == 20 + 3 * 11
    assert policy.size(turn, 80, 90, 0) == 10 + 3 * 11
    assert policy.size(turn, 0, 500, 0) == 1 + 3 * 11
    assert policy.size(SimpleNamespace(goal_tokens=100, hints=Hints()), 0, 0, 0) == 100 + 10 * 11


def test_queues_have_strict_priority_and_quotas_move_jobs():
    told = Told("astraea-paper")
    told.arrive("heavy", 130)  # 131 tokens: over the first queue's 128
    told.serve(tools={"heavy"})
    (job,) = told.core.snapshot().jobs
    assert job.level == 1
    told.arrive("heavy2", 135, job="heavy", reuse=130)
    told.arrive("fresh", 900, wait_us=50)
    told.now_us += 1
    # heavy2 has by far the larger ratio, but fresh is in the first queue.
    assert told.serve(tools={"heavy2"})[1:] == ["fresh", "heavy2"]
    (job,) = told.core.snapshot().jobs
    assert job.level == 0  # it yielded to a tool within its quota: one up


def test_ageing_brings_a_job_of_the_last_queue_to_the_first():
    policy = make_policy("astraea-paper", LIMITS)
    job = SimpleNamespace(level=4, arrival=1, wait_at=lambda now_us: now_us)
    at_the_ratio = (AGEING_RATIO - 1) * 100
    assert policy.queue.key(job, 100, 1, at_the_ratio)[0] == 4
    assert policy.queue.key(job, 100, 1, at_the_ratio + 1)[0] == 0
    third = SimpleNamespace(level=3, arrival=1, wait_at=lambda now_us: now_us)
    assert policy.queue.key(third, 100, 1, 1_000_000)[0] == 3


def paper_memory(host_blocks=0, mean_wait_us=1_000):
    limits = Limits(
        device_blocks=100, host_blocks=host_blocks, block_tokens=10, costs=COSTS,
        tuning=Tuning(prior_tool_wait_us=mean_wait_us),
    )  # fmt: skip
    policy = make_policy("astraea-paper", limits)
    assert isinstance(policy.memory, MinWaste)
    return policy.memory, Ledger(limits)


def test_below_the_watermark_every_cache_is_preserved():
    memory, ledger = paper_memory(mean_wait_us=10**9)
    ledger.device_free = 11
    assert memory.keep_until_us(held(200), ledger, 5) > 10**12
    ledger.device_free = 100 - WATERMARK_PERMILLE // 10
    assert memory.keep_until_us(held(200), ledger, 5) == 5


def test_above_the_watermark_the_least_waste_is_chosen():
    # A cache of 200 tokens, 800 tokens of others: discarding wastes 200 us * 800 = 160,000 token-us.
    memory, ledger = paper_memory(mean_wait_us=800)  # preserving wastes 800 us * 200: just as much
    ledger.device_free = 0
    assert memory.keep_until_us(held(200), ledger, 5) > 10**12
    memory, ledger = paper_memory(mean_wait_us=801)
    ledger.device_free = 0
    assert memory.keep_until_us(held(200), ledger, 5) == 5


def test_with_a_host_pool_two_copies_may_be_the_least():
    # Swapping wastes 2 * 20 us * 800 = 32,000 token-us: preserving is right up to a wait of 160 us.
    for mean_wait_us, kept in ((160, True), (161, False)):
        memory, ledger = paper_memory(host_blocks=10, mean_wait_us=mean_wait_us)
        ledger.device_free = 0
        assert (memory.keep_until_us(held(200), ledger, 5) > 5) is kept


def test_the_papers_order_holds_for_memory_too():
    memory, _ = paper_memory()
    assert memory.may_evict_protected(None, None, None, 0, ranks_before=True, lossless=False)
    assert not memory.may_evict_protected(None, None, None, 0, ranks_before=False, lossless=True)
    assert memory.headroom_blocks(10) == 0


# What each says of itself


@pytest.mark.parametrize("name", policy_names())
def test_a_policy_says_what_it_is_and_what_it_gives_up(name):
    policy = make_policy(name, LIMITS)
    assert policy.name == name
    assert policy.summary
    assert policy.source
    assert policy.guarded is (name == "astraea")
    assert policy.clairvoyant is (name in {"astraea-paper", "mars", "srpt-oracle", "srpt-oracle-lru"})


@pytest.mark.parametrize(
    ("name", "memory", "blocking"),
    [
        ("astraea", KeepByReuse, Blocking.STARTS),
        ("astraea-paper", MinWaste, Blocking.NOTHING),
        ("hrrn-turn", KeepByReuse, Blocking.STARTS),
        ("hrrn", LeastRecentlyUsed, Blocking.EVERYTHING),
        ("sjf-predicted", ByRank, Blocking.EVERYTHING),
        ("mlfq", ByRank, Blocking.EVERYTHING),
        ("plas", ByRank, Blocking.STARTS),
        ("infercept", InterceptionWaste, Blocking.STARTS),
        ("mars", PredictedHandling, Blocking.STARTS),
        ("continuum", TimeToLive, Blocking.EVERYTHING),
        ("fcfs", LeastRecentlyUsed, Blocking.EVERYTHING),
        ("job-fcfs", LeastRecentlyUsed, Blocking.EVERYTHING),
        ("job-fcfs-kept", KeepByReuse, Blocking.STARTS),
        ("srpt-oracle", KeepByReuse, Blocking.STARTS),
        ("srpt-oracle-lru", LeastRecentlyUsed, Blocking.STARTS),
    ],
)
def test_memory_rules_and_blocking(name, memory, blocking):
    policy = make_policy(name, LIMITS)
    assert type(policy.memory) is memory
    assert policy.blocking is blocking


def test_the_plain_ones_learn_nothing():
    told = Told("fcfs")
    told.arrive("a1", 100)
    told.serve()
    assert told.core.policy.predictor.output_tokens(0, "") == LIMITS.tuning.prior_output_tokens


def test_an_unknown_name_is_a_users_mistake():
    with pytest.raises(UsageError, match=r"no policy 'astrea'\. Did you mean 'astraea'\?"):
        make_policy("astrea", LIMITS)
    with pytest.raises(UsageError, match="The policies are astraea, "):
        make_policy("zzz", LIMITS)
    assert set(policy_names()) == set(POLICIES)
