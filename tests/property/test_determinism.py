"""INV-7: the same decisions in every process, whatever the hash seed. INV-9: none of them knows the future."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from astraea.events import BatchDone, TurnArrived
from astraea.policy.limits import Limits
from astraea.rivals import POLICIES
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import load_engine

WALKS = "from walks import walk\nimport hashlib\nlogs = [repr(walk(seed, moves=80).log) for seed in range(12)]\n"
PRINTED = "print(hashlib.sha256('\\n'.join(logs).encode()).hexdigest())"


def digest_in_a_process(hash_seed):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    return subprocess.check_output([sys.executable, "-c", WALKS + PRINTED], env=env, text=True).strip().splitlines()[-1]


def test_inv_7_the_same_decisions_in_two_processes_with_different_hash_seeds():
    digests = {seed: digest_in_a_process(seed) for seed in ("0", "1", "4242")}
    assert len(set(digests.values())) == 1, f"INV-7: {digests}"
    assert len(digests["0"]) == len(hashlib.sha256().hexdigest())


# INV-9

POOL_OF_60_BLOCKS = evolve(load_engine("gptj-6b-a100"), pool_tokens=60 * 16, batch_turns_max=6)
LONGEST = 120
"""The clients' limit of every turn follows from the longest output, so one job that never changes has it."""


@st.composite
def workloads(draw):
    jobs = [JobSpec("longest", (TurnSpec(16, 16, LONGEST, None, 0),), arrival_us=0)]
    for number in range(draw(st.integers(3, 8))):
        turns, context = [], 0
        for _ in range(draw(st.integers(1, 4))):
            new = draw(st.integers(1, 120))
            context += new
            output = draw(st.integers(1, 60))
            wait_us = draw(st.sampled_from([0, 20_000, 400_000, 3_000_000]))
            turns.append(TurnSpec(new, context, output, draw(st.sampled_from(["shell", "search"])), wait_us))
            context += output
        turns[-1] = evolve(turns[-1], tool=None, tool_wait_us=0)
        jobs.append(JobSpec(f"j{number}", tuple(turns), arrival_us=draw(st.integers(0, 1_500_000))))
    return jobs


def record(jobs, policy, host_ratio):
    """Run a workload; return its decisions by time, and when each turn ended and each tool returned."""
    limits = limits_for(POOL_OF_60_BLOCKS, host_ratio)
    log = Log()
    simulate(jobs, POOL_OF_60_BLOCKS, policy, limits=limits, recorder=log)
    return log


class Log:
    """Stands in for a recorder and keeps the objects."""

    def __init__(self):
        self.decisions, self.events = [], []

    def event(self, event):
        self.events.append(event)

    def decided(self, now_us, decisions):
        self.decisions += [(now_us, decision) for decision in decisions]

    def before(self, time_us):
        return [entry for entry in self.decisions if entry[0] < time_us]

    def seen(self, time_us):
        """Turns that had ended by a time, and turns that had begun by then."""
        ended = {o.turn_id for e in self.events if isinstance(e, BatchDone) and e.now_us < time_us for o in e.ended}
        begun = {e.turn_id for e in self.events if isinstance(e, TurnArrived) and e.now_us < time_us}
        return ended, begun


def rewritten(jobs, log, time_us, salt):
    """Change every output and tool wait that nobody can have seen by ``time_us``."""
    ended, begun = log.seen(time_us)

    def turn_of(job, i, turn):
        turn_id, following = f"{job.job_id}/{i}.0", f"{job.job_id}/{i + 1}.0"
        output, wait_us = turn.output_tokens, turn.tool_wait_us
        if job.job_id != "longest" and turn_id not in ended:
            output = output + salt % 30 if turn_id in begun else output * salt % 61 + 1
        if turn.tool and following not in begun and turn_id not in ended:
            wait_us = wait_us * salt % 4_000_000 + 1
        return evolve(turn, output_tokens=output, tool_wait_us=wait_us)

    return [evolve(job, turns=tuple(turn_of(job, i, turn) for i, turn in enumerate(job.turns))) for job in jobs]


def clairvoyance(jobs, policy, share, salt, host_ratio=0.0):
    """Return the decisions of a run up to a share of its events' time, and those with the future rewritten."""
    log = record(jobs, policy, host_ratio)
    times = [now_us for now_us, _ in log.decisions]
    time_us = times[len(times) * share // 100]
    other = record(rewritten(jobs, log, time_us, salt), policy, host_ratio)
    return log.before(time_us), other.before(time_us)


SEEING = [name for name, policy in POLICIES.items() if policy(Limits(device_blocks=1)).clairvoyant]
BLIND = [name for name in POLICIES if name not in SEEING]


@pytest.mark.parametrize("policy", BLIND)
@given(jobs=workloads(), share=st.integers(5, 95), salt=st.integers(2, 10**6), host=st.sampled_from([0.0, 2.0]))
@settings(max_examples=40)
def test_inv_9_a_future_that_nobody_has_seen_changes_no_decision_of_the_past(policy, jobs, share, salt, host):
    past, other = clairvoyance(jobs, policy, share, salt, host)
    assert past == other, f"INV-9: {policy} decided otherwise before the change"


@pytest.mark.parametrize("policy", ["srpt-oracle"])
def test_inv_9_is_seen_broken_by_a_policy_that_is_told_the_future(policy):
    def turns(output):
        return (TurnSpec(40, 40, 5, "shell", 1_000), TurnSpec(10, 60, output, None, 0))

    jobs = [JobSpec("longest", (TurnSpec(16, 16, LONGEST, None, 0),), arrival_us=0)]
    jobs += [JobSpec(f"j{n}", turns(10 + 5 * n), arrival_us=0) for n in range(10)]
    assert any(past != other for past, other in (clairvoyance(jobs, policy, share, 7) for share in range(5, 90, 5)))
