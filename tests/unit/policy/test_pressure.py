"""Keep, swap or drop: the figures of both memory rules by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from astraea import EngineCosts, Limits, Tuning
from astraea.policy.ledger import Ledger
from astraea.policy.prediction import Predictor, WaitHistory
from astraea.policy.pressure import KeepByReuse, LeastRecentlyUsed
from astraea.policy.state import Context, Holding, Session

COSTS = EngineCosts(
    step_ns=10_000, prefill_ns_per_token=1_000, read_ps_per_context_token=0, attention_ps_per_token_pair=0,
    swap_ns_per_token=100,
)  # fmt: skip


def limits_of(host_blocks=0, **tuning):
    return Limits(device_blocks=100, host_blocks=host_blocks, block_tokens=10, costs=COSTS, tuning=Tuning(**tuning))


def cache_of(tokens, *, host_blocks=0, tool="grep"):
    context = Context(Session("acme", "s"), "main")
    context.holding = Holding(device_tokens=tokens, device_blocks=-(-tokens // 10), host_blocks=host_blocks)
    context.waits_for = tool
    return context


def keeper(limits, waits=()):
    predictor = Predictor(limits)
    for wait_us in waits:
        predictor.learn_wait("grep", wait_us)
    return KeepByReuse(limits, predictor), Ledger(limits)


# Without attention the pool of 1,000 tokens refills in 1,000 us whatever the cache; 3.5 times that is the threshold.


@pytest.mark.parametrize(("prior_us", "kept_us"), [(3_499, 3_499), (3_500, 0), (1_000_000, 0)])
def test_before_any_wait_the_prior_decides(prior_us, kept_us):
    memory, ledger = keeper(limits_of(prior_tool_wait_us=prior_us))
    assert memory.keep_until_us(cache_of(200), ledger, 50) == 50 + kept_us


def test_a_short_tool_is_kept_for_as_long_as_it_ever_took():
    memory, ledger = keeper(limits_of(), waits=(100, 900))
    assert memory.keep_until_us(cache_of(200), ledger, 50) == 50 + 900 + 1


def test_a_long_tool_is_not_kept_at_all():
    memory, ledger = keeper(limits_of(), waits=(90_000, 90_000))
    assert memory.keep_until_us(cache_of(200), ledger, 50) == 50


def test_a_mostly_short_tool_is_kept_until_it_must_be_a_long_one():
    waits, history = [100] * 99 + [90_000], WaitHistory()
    memory, ledger = keeper(limits_of(), waits)
    kept_us = memory.keep_until_us(cache_of(200), ledger, 0)
    for wait_us in waits:
        history.add(wait_us)
    assert [elapsed for elapsed, rest in history.rests_us() if rest >= 3_500] == [kept_us]
    assert 100 < kept_us <= 90_000


def test_with_room_on_the_host_only_the_copy_is_at_stake():
    # 200 tokens are copied in 20 us: 3.5 times that is less than any wait here.
    memory, ledger = keeper(limits_of(host_blocks=20), waits=(100,))
    assert memory.keep_until_us(cache_of(200), ledger, 0) == 0
    # Without room for it (20 of 19 blocks) it is worth its recomputation again, and with a part on the host it fits.
    memory, ledger = keeper(limits_of(host_blocks=19), waits=(100,))
    assert memory.keep_until_us(cache_of(200), ledger, 0) == 101
    assert memory.keep_until_us(cache_of(200, host_blocks=1), ledger, 0) == 0


def test_an_empty_cache_is_not_kept():
    memory, ledger = keeper(limits_of(), waits=(1,))
    assert memory.keep_until_us(cache_of(0), ledger, 7) == 7


@pytest.mark.parametrize(
    ("held", "ranks_before", "lossless", "may"),
    [
        (0, True, False, False),  # without a cache of its own it takes nobody's
        (0, True, True, True),  # unless it is a swap and no loss
        (60, True, False, True),  # a resident turn takes a worse-ranked one's
        (50, True, False, False),  # resident: more than half of what it held before
        (60, False, True, False),  # never a better-ranked one's
    ],
)
def test_who_may_evict_a_protected_cache(held, ranks_before, lossless, may):
    memory, _ = keeper(limits_of())
    turn = SimpleNamespace(context=cache_of(held), prompt_tokens=130, new_tokens=30)
    assert memory.may_evict_protected(turn, None, None, 0, ranks_before=ranks_before, lossless=lossless) is may


def test_headroom_is_half_of_the_growth_and_at_most_a_share_of_the_pool():
    memory, _ = keeper(limits_of(prior_output_tokens=30, growth_permille=500, growth_cap_permille=300))
    assert memory.headroom_blocks(0) == 0
    assert memory.headroom_blocks(4) == 6  # 120 tokens are 12 blocks
    assert memory.headroom_blocks(400) == 30


def test_a_copy_is_worth_it_where_it_is_cheaper_than_computing():
    memory, _ = keeper(limits_of())
    assert memory.swaps(100, 0)
    dear = Limits(device_blocks=100, costs=EngineCosts(prefill_ns_per_token=10, attention_ps_per_token_pair=0))
    assert not LeastRecentlyUsed(dear).swaps(100, 0)


def test_least_recently_used_keeps_nothing_on_purpose():
    memory, ledger = LeastRecentlyUsed(limits_of()), Ledger(limits_of())
    assert memory.keep_until_us(cache_of(200), ledger, 9) == 9
    assert memory.may_evict_protected(None, None, None, 0, ranks_before=False, lossless=False)
    assert memory.headroom_blocks(1_000) == 0
