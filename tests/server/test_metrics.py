"""What scrapers read, under pressure: a small pool, so that caches are swapped, dropped and missed."""

from __future__ import annotations

from attrs import evolve

from astraea import Limits, Scheduler
from astraea.server.metrics import Metrics

from .conftest import serving


def _sum(numbers, name):
    return sum(value for key, value in numbers.items() if key.startswith(name))


def test_what_is_decided_about_caches_is_counted_with_its_reason():
    with serving(kv_tokens=1_024, host_kv_tokens=4_096, max_queue=64) as live:
        said = {}
        for turn in range(3):
            for agent in range(6):
                messages = said.setdefault(agent, [{"role": "user", "content": f"agent {agent} " * 40}])
                told = live.chat(*messages, max_tokens=8, session_id=f"agent-{agent}").json()
                messages += [told["choices"][0]["message"], {"role": "user", "content": f"turn {turn}"}]
        numbers = live.numbers()
    assert numbers['astraea_kv_decisions_total{action="swap_out",reason="demand"}'] > 0
    assert numbers['astraea_kv_decisions_total{action="swap_in",reason="ranked"}'] > 0
    assert _sum(numbers, "astraea_dispatches_total") >= numbers['astraea_turns_total{finish="length"}'] == 18
    assert numbers["vllm:prefix_cache_hits_total{}"] > 0.4 * numbers["vllm:prefix_cache_queries_total{}"]
    assert numbers["vllm:kv_cache_usage_perc{}"] > 0.5
    assert numbers["astraea_decide_seconds_count{}"] > 18
    assert numbers["astraea_host_free_blocks{}"] < 256


def test_gauges_are_those_of_the_scheduler_at_that_moment():
    snapshot = Scheduler(Limits(device_blocks=8, host_blocks=5)).snapshot()
    page = (
        Metrics("toy").page(evolve(snapshot, worst_bypass=7, device_free=2, device_quarantined=1), sessions=3).decode()
    )
    labels = '{engine="0",model_name="toy"}'
    told = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert float(told[f"astraea_worst_bypass{labels}"]) == 7
    assert float(told[f"astraea_device_free_blocks{labels}"]) == 2
    assert float(told[f"astraea_device_quarantined_blocks{labels}"]) == 1
    assert float(told[f"astraea_host_free_blocks{labels}"]) == 5
    assert float(told[f"astraea_sessions{labels}"]) == 3
    assert float(told[f"vllm:kv_cache_usage_perc{labels}"]) == 0.75
