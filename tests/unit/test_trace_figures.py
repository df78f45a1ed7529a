"""The figures that are read off a trace are those that the simulator counted while it ran."""

from __future__ import annotations

import pytest
from attrs import evolve

from astraea.rivals import make_policy
from astraea.simulator.arrivals import poisson
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.generators import generate
from astraea.simulator.profiles import load_engine
from astraea.trace.figures import run_figures
from astraea.trace.reader import read_trace
from astraea.trace.recorder import TraceRecorder

ENGINE = evolve(load_engine("gptj-6b-a100"), pool_tokens=24_000)


@pytest.mark.parametrize("policy", ["fcfs", "astraea"])
@pytest.mark.parametrize(
    ("workload", "host_ratio"), [("infercept-mix", 0.5), ("deep-research", 0.0), ("sharegpt-chat", 1.0)]
)
def test_they_are_those_of_the_simulator(workload, host_ratio, policy, tmp_path):
    engine = ENGINE if workload != "deep-research" else evolve(ENGINE, pool_tokens=200_000)
    limits = limits_for(engine, host_ratio)
    jobs = poisson(generate(workload, 40, 0), 5.0, 0)
    file = tmp_path / "trace.ndjson"
    with TraceRecorder(file, limits, policy, blocking=make_policy(policy, limits).blocking) as recorder:
        result = simulate(jobs, engine, policy, host_ratio=host_ratio, recorder=recorder)
    figures = run_figures(read_trace(file))
    assert (figures.steps, figures.preemptions) == (result.steps, result.preemptions)
    assert (figures.prefill_tokens, figures.recomputed_tokens) == (result.prefill_tokens, result.recomputed_tokens)
    assert figures.swapped_tokens == result.swapped_tokens
    assert {job.job_id: figures.queue_us(job.job_id) for job in result.jobs} == {
        job.job_id: job.queue_us for job in result.jobs
    }
    assert result.recomputed_tokens > 0 or policy == "astraea", "the case shows nothing"
