"""The simulator's driver on small workloads: the same run however many steps at a time, and bounds that hold."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from astraea import Tuning, UsageError
from astraea.rivals import policy_names
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.step_time import PS_PER_US, alone_us, step_cost

ENGINE = EngineProfile(
    name="toy", summary="a toy", source="made up", step_ns=1_000_000, prefill_ns_per_token=10_000,
    read_ps_per_context_token=100_000, attention_ps_per_token_pair=1_000, pool_tokens=400,
    context_tokens_max=400, step_tokens_max=64, batch_turns_max=8, block_tokens=4,
    kv_bytes_per_token=1_000, host_bytes_per_s=2_000_000_000,
)  # fmt: skip


def workload(seed=0, jobs=14, *, shared=False, groups=False, spread_us=40_000):
    """Agents with two to five turns, tool waits, edited histories; a few fill most of the pool."""
    dice = random.Random(seed)
    made, at_us = [], 0
    for number in range(jobs):
        at_us += dice.randrange(spread_us)
        turns, held = [], dice.choice([16, 40, 120])
        for index in range(dice.randint(2, 5)):
            new = held if not index else dice.randint(4, 30)
            context = min(320, held if not index else held + new)
            if index and dice.random() < 0.2:
                context = max(new, context // 2)
            output = dice.choice([1, 3, 12, 40])
            group = number if groups and index in {1, 2} else None
            wait_us = dice.choice([0, 2_000, 60_000])
            turns.append(TurnSpec(min(new, context), context, output, "shell", wait_us, group))
            held = context + output
        last = turns[-1].parallel_group
        for index, turn in enumerate(turns):
            if turn is turns[-1] or (last is not None and turn.parallel_group == last):
                turns[index] = evolve(turn, tool=None, tool_wait_us=0)
        made.append(
            JobSpec(
                f"j{number}", tuple(turns), at_us, tenant=f"t{number % 2}",
                shared_prefix_id="sys" if shared else "",
                shared_prefix_tokens=12 if shared else 0,
            )
        )  # fmt: skip
    return made


SHAPES = {
    "plain": {},
    "shared prefix": {"shared": True},
    "parallel groups": {"groups": True},
    "both": {"shared": True, "groups": True},
}


@pytest.mark.parametrize("policy", policy_names())
@pytest.mark.parametrize("host_ratio", [0.0, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_step_at_a_time_is_the_same_run(policy, host_ratio, shape):
    for seed in range(3):
        jobs = workload(seed, **SHAPES[shape])
        many = simulate(jobs, ENGINE, policy, host_ratio=host_ratio)
        one = simulate(jobs, ENGINE, policy, host_ratio=host_ratio, one_step=True)
        assert one.digest == many.digest, seed
        assert one.jobs == many.jobs
        assert (one.steps, one.prefill_tokens, one.preemptions, one.swapped_tokens) == (
            many.steps, many.prefill_tokens, many.preemptions, many.swapped_tokens,
        )  # fmt: skip


def test_small_pools_preempt_recompute_and_swap():
    """Were they not small enough for that, the test above would say little."""
    runs = [
        simulate(workload(seed), ENGINE, policy, host_ratio=host_ratio)
        for policy in ("astraea", "fcfs")
        for seed in range(3)
        for host_ratio in (0.0, 1.0)
    ]
    assert any(run.preemptions for run in runs)
    assert any(run.recomputed_tokens for run in runs)
    assert any(run.swapped_tokens for run in runs)


@pytest.mark.parametrize("policy", policy_names())
def test_every_job_completes_and_no_sooner_than_it_could_alone(policy):
    jobs = workload(5, groups=True)
    result = simulate(jobs, ENGINE, policy)
    assert sorted(job.job_id for job in result.jobs) == sorted(job.job_id for job in jobs)
    for job in result.jobs:
        assert job.jct_us >= job.alone_us - 1, job.job_id
        assert job.finished_us <= result.makespan_us


@pytest.mark.parametrize("agents", [1, 3, 100])
def test_a_closed_loop_has_so_many_jobs_at_work(agents):
    jobs = workload(2)
    result = simulate(jobs, ENGINE, "astraea", agents=agents)
    begun = sorted((job.arrival_us, job.finished_us) for job in result.jobs)
    for arrival_us, _ in begun:
        assert sum(first <= arrival_us < last for first, last in begun) <= agents
    assert simulate(jobs, ENGINE, "astraea", agents=agents, one_step=True).digest == result.digest


def test_one_agent_alone_takes_the_time_alone():
    jobs = workload(2)
    for job in simulate(jobs, ENGINE, "astraea", agents=1).jobs:
        assert job.queue_us == 0
        assert abs(job.jct_us - job.alone_us) <= 2 * job.turns  # each report falls on a whole microsecond


def test_a_session_may_bring_several_jobs_one_after_the_other():
    turns = (TurnSpec(20, 20, 3, "shell", 1_000), TurnSpec(5, 28, 2, None, 0))
    later = (TurnSpec(4, 34, 2, None, 0),)
    jobs = [
        JobSpec("first", turns, 0, session_id="s"),
        JobSpec("second", later, 500_000, session_id="s"),
        JobSpec("other", turns, 100, session_id="t"),
    ]
    result = simulate(jobs, ENGINE, "astraea")
    assert result == evolve(simulate(jobs, ENGINE, "astraea", one_step=True), **_times(result))
    # The second job goes on from the first one's cache: of its 34 tokens, 30 are reusable and 29 are there.
    assert result.prefill_tokens == 2 * (20 + 28 - 22) + (34 - 29)


def _times(result):
    return {"decide_us_p50": result.decide_us_p50, "decide_us_p99": result.decide_us_p99}


def test_a_refused_turn_is_the_users_mistake():
    jobs = [JobSpec(name, (TurnSpec(4, 4, 1, None, 0),), 0) for name in ("i", "j")]
    with pytest.raises(UsageError, match=r"j/0\.0 was refused: tenant_queue_full"):
        simulate(jobs, ENGINE, "astraea", limits=evolve(limits_for(ENGINE), tenant_turns_max=1))


PROGRAM = """
import sys
sys.path[:0] = [{folder!r}]
import test_driver as it
from astraea.simulator.driver import simulate
for policy in it.policy_names():
    for host_ratio in (0.0, 1.0):
        print(simulate(it.workload(3, shared=True, groups=True), it.ENGINE, policy, host_ratio=host_ratio).digest)
"""


def test_two_processes_with_two_hash_seeds_print_the_same_digests():
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    printed = []
    for seed in ("0", "4242"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        printed.append(
            subprocess.run(
                [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
            ).stdout
        )
    assert printed[0] == printed[1]
    assert len(printed[0].split()) == 2 * len(policy_names())


# Time


def naive_ps(engine, chunks, steps):
    """Add up a step at a time, chunk by chunk."""
    total, held = 0, [position for position, _ in chunks]
    for _ in range(steps):
        total += 1_000 * engine.step_ns
        for index, (_, count) in enumerate(chunks):
            total += 1_000 * engine.prefill_ns_per_token * count
            total += engine.read_ps_per_context_token * held[index]
            if count > 1:
                total += 1_000 * engine.piece_ns
                total += engine.attention_ps_per_token_pair * count * (2 * held[index] + count) // 2
            held[index] += count
    return total


@pytest.mark.parametrize("chunks", [[(0, 64)], [(10, 1)], [(10, 1), (300, 1), (20, 30)], [(7, 2), (0, 8)]])
@pytest.mark.parametrize("steps", [0, 1, 2, 37])
def test_many_steps_cost_what_single_ones_do(chunks, steps):
    for engine in (ENGINE, evolve(ENGINE, piece_ns=700)):
        assert step_cost(engine, chunks).total_ps(steps) == naive_ps(engine, chunks, steps)


def test_steps_until_a_time_are_the_fewest_that_reach_it():
    cost = step_cost(ENGINE, [(10, 1), (300, 1)])
    for limit_ps in range(0, cost.total_ps(12), cost.first_ps // 3):
        fewest = next((n for n in range(1, 10) if cost.total_ps(n) >= limit_ps), 9)
        assert cost.steps_until(limit_ps, 9) == fewest


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("groups", [False, True])
def test_time_alone_is_that_of_a_naive_loop(seed, groups):
    for job in workload(seed, jobs=4, groups=groups):
        assert alone_us(ENGINE, job) == naive_alone_us(job)


def naive_alone_us(job):
    total_ps, held = 0, 0
    stages = []
    for turn in job.turns:
        if stages and turn.parallel_group is not None and stages[-1][-1].parallel_group == turn.parallel_group:
            stages[-1].append(turn)
        else:
            stages.append([turn])
    for stage in stages:
        slowest_ps = 0
        for branch, turn in enumerate(stage):
            position = 0 if branch else min(held, turn.reusable_tokens, turn.context_tokens - 1)
            spent_ps = turn.tool_wait_us * PS_PER_US
            while position < turn.context_tokens:
                tokens = min(ENGINE.step_tokens_max, turn.context_tokens - position)
                spent_ps += naive_ps(ENGINE, [(position, tokens)], 1)
                position += tokens
            for token in range(turn.output_tokens - 1):
                spent_ps += naive_ps(ENGINE, [(turn.context_tokens + token, 1)], 1)
            slowest_ps = max(slowest_ps, spent_ps)
        total_ps += slowest_ps
        held = stage[0].context_tokens + stage[0].output_tokens - 1
    return max(1, total_ps // PS_PER_US)


# Starvation

ONE_SLOT = evolve(ENGINE, batch_turns_max=1, prefill_ns_per_token=100_000)


def stream(length, *, long_prompt):
    """One long job, and then short ones at 1.6 times what the engine can serve."""
    short = (TurnSpec(40, 40, 4, None, 0),)
    alone = alone_us(ONE_SLOT, JobSpec("s", short))
    gap_us = alone * 10 // 16
    long = JobSpec("long", (TurnSpec(long_prompt, long_prompt, 30, None, 0),), 1)
    return [JobSpec("s0", short, 0), long, *(JobSpec(f"s{n}", short, n * gap_us) for n in range(1, length))]


def long_jct_us(length, policy, *, long_prompt=200, bypass_max=20):
    limits = evolve(limits_for(ONE_SLOT, bypass_max=bypass_max), tuning=Tuning(prior_output_tokens=4))
    result = simulate(stream(length, long_prompt=long_prompt), ONE_SLOT, policy, limits=limits)
    (long,) = (job for job in result.jobs if job.job_id == "long")
    return long.jct_us, result


def test_textbook_hrrn_starves_the_long_job_for_as_long_as_the_stream_lasts():
    times = [long_jct_us(length, "hrrn-turn")[0] for length in (100, 200, 400)]
    assert times[1] > 1.8 * times[0]
    assert times[2] > 1.8 * times[1]


@pytest.mark.parametrize("long_prompt", [200, 400 - 32])
@pytest.mark.parametrize("bypass_max", [0, 5, 20])
def test_astraea_serves_the_long_job_within_the_stated_bound(bypass_max, long_prompt):
    """Also where its prompt and output fill the whole pool."""
    short_us = alone_us(ONE_SLOT, stream(1, long_prompt=200)[0])
    times = []
    for length in (100, 400):
        jct_us, result = long_jct_us(length, "astraea", long_prompt=long_prompt, bypass_max=bypass_max)
        (long,) = (job for job in result.jobs if job.job_id == "long")
        assert result.bypass_bound == bypass_max
        assert result.worst_bypass <= bypass_max
        # The one that runs, K that pass, and itself; reports fall on whole microseconds.
        assert jct_us <= (bypass_max + 1) * short_us + long.alone_us + 2 * (bypass_max + 2)
        times.append(jct_us)
    assert times[0] == times[1], "it does not depend on how long the stream goes on"
