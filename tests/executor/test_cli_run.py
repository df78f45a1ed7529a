"""``astraea run``: agents on a real engine, whose traces keep the claims, beside what the simulator predicts."""

from __future__ import annotations

import json
import re
from statistics import fmean

import pytest
from attrs import evolve

from astraea.cli.app import run
from astraea.cli.calibration import draft_profile
from astraea.cli.real_agents import RealRun
from astraea.cli.real_report import SeedFigures, combined, judge_real
from astraea.errors import InvariantError, UsageError
from astraea.events import BatchDone, TurnArrived
from astraea.executor.model import load_model
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.policy.limits import Limits
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.generators import generate
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.profiles import to_toml
from astraea.simulator.scaling import scaled
from astraea.trace.check import check_trace
from astraea.trace.entries import EventEntry
from astraea.trace.reader import read_trace
from astraea.trace.recorder import TraceRecorder


@pytest.fixture(scope="module")
def toy():
    return load_model("toy")


@pytest.fixture(scope="module")
def profile(toy):
    return evolve(
        draft_profile(toy), pool_tokens=2_048, context_tokens_max=1_024, step_ns=2_000_000,
        prefill_ns_per_token=100_000, host_bytes_per_s=5_000_000_000,
    )  # fmt: skip


@pytest.fixture
def engine_file(profile, tmp_path):
    file = tmp_path / "toy.toml"
    file.write_text(to_toml(profile))
    return str(file)


def ran(toy, profile, jobs, tmp_path, *, policy="astraea", agents=4, host_ratio=0.0):
    trace = tmp_path / "trace.ndjson"
    limits = limits_for(profile, host_ratio)
    results = RealRun(toy, jobs, profile, limits, policy=policy, record=trace).run(agents, None)
    return results, trace


def lengths(trace):
    """What the engine was asked and did: prompt, reused tokens and output of every turn."""
    arrived = [e.event for e in read_trace(trace) if isinstance(e, EventEntry) and isinstance(e.event, TurnArrived)]
    return {event.turn_id: (event.context_tokens, event.reusable_tokens) for event in arrived}


@pytest.mark.parametrize("workload", ["calculator", "deep-research", "swebench"])
def test_the_turns_are_those_of_the_workload(workload, toy, profile, tmp_path):
    scale = {"calculator": 0.1, "deep-research": 0.005, "swebench": 0.005}[workload]
    jobs = [scaled(job, scale, 0.001) for job in generate(workload, 5, 0)]
    results, trace = ran(toy, profile, jobs, tmp_path)
    assert check_trace(read_trace(trace)).ok
    assert sorted(result.job_id for result in results) == sorted(job.job_id for job in jobs)
    simulated = tmp_path / "simulated.ndjson"
    with TraceRecorder(simulated, limits_for(profile), "astraea") as recorder:
        simulate(jobs, profile, "astraea", agents=4, recorder=recorder)
    expected = lengths(simulated)
    assert lengths(trace).keys() == expected.keys()
    prefixes = {job.job_id: job.shared_prefix_tokens for job in jobs}
    for turn_id, (prompt, reusable) in lengths(trace).items():
        # A sub-agent's later prompts begin with the shared prefix again, which the engine sees.
        seen = max(expected[turn_id][1], prefixes[turn_id.split("/")[0]] if reusable else 0)
        assert (prompt, reusable) == (expected[turn_id][0], seen)


def test_answers_are_as_long_as_the_workload_says_and_nobody_is_told_before(toy, profile, tmp_path):
    jobs = [JobSpec("j", (TurnSpec(20, 20, 5, "t", 1_000), TurnSpec(10, 35, 3, None, 0)))]
    (result,), trace = ran(toy, profile, jobs, tmp_path)
    entries = [entry.event for entry in read_trace(trace) if isinstance(entry, EventEntry)]
    assert [event.max_output_tokens for event in entries if isinstance(event, TurnArrived)] == [8, 8]
    assert sum(event.steps for event in entries if isinstance(event, BatchDone)) == 5 + 3
    assert result.jct_us > 1_000


def test_tool_waits_are_slept(toy, profile, tmp_path):
    turns = (TurnSpec(8, 8, 2, "t", 300_000), TurnSpec(8, 18, 2, None, 0))
    (result,), _ = ran(toy, profile, [JobSpec("j", turns)], tmp_path)
    assert 300_000 <= result.jct_us < 2_000_000


def test_under_pressure_with_a_host_pool_every_job_ends_and_the_claims_hold(toy, profile, tmp_path):
    jobs = [scaled(job, 0.005, 0.01) for job in generate("swebench", 16, 0)]
    small = evolve(profile, pool_tokens=1_024)
    results, trace = ran(toy, small, jobs, tmp_path, agents=12, host_ratio=1.0)
    figures = judge_real(0, jobs, results, trace, simulate(jobs, small, "astraea", agents=12, host_ratio=1.0))
    assert len(results) == 16
    assert figures.swapped_tokens > 0, "the case shows nothing"


def test_no_verdict_is_given_on_a_trace_that_breaks_a_claim(toy, profile, tmp_path):
    jobs = [JobSpec("j", (TurnSpec(20, 20, 5, None, 0),))]
    results, trace = ran(toy, profile, jobs, tmp_path)
    predicted = simulate(jobs, profile, "astraea", agents=1)
    assert judge_real(0, jobs, results, trace, predicted).mean_jct_s > 0
    trace.write_text(re.sub(r'"digest":"[0-9a-f]{8}', '"digest":"00000000', trace.read_text()))
    with pytest.raises(InvariantError, match="DIGEST"):
        judge_real(0, jobs, results, trace, predicted)


def test_a_turn_that_cannot_be_served_is_told(toy, profile, tmp_path):
    jobs = [JobSpec("j", (TurnSpec(3_000, 3_000, 5, None, 0),))]
    with pytest.raises(UsageError, match="was refused"):
        ran(toy, profile, jobs, tmp_path)


def figures_of(seed, **changes):
    numbers = dict.fromkeys(
        ["mean_jct_s", "p50_jct_s", "p95_jct_s", "p99_jct_s", "mean_service_s", "mean_queue_s", "recomputed_share",
         "swapped_tokens", "preemptions", "throughput_jobs_per_s", "worst_bypass", "predicted_jct_s",
         "predicted_service_s"], 1.0,
    )  # fmt: skip
    return SeedFigures(seed=seed, digest=f"d{seed}", **{**numbers, **changes})


def test_over_seeds_figures_are_means_and_errors_are_of_the_means():
    verdict = combined(
        "astraea",
        [figures_of(0, mean_jct_s=1.0, worst_bypass=2), figures_of(1, mean_jct_s=3.0, predicted_jct_s=2.0)],
    )
    record = verdict.as_json()
    assert (record["mean_jct_s"], record["predicted_jct_s"], record["worst_bypass"]) == (2.0, 1.5, 2)
    assert record["jct_error_percent"] == -25.0
    assert [row["jct_error_percent"] for row in record["per_seed"]] == [0.0, -33.33]


def test_the_report_has_both_policies_beside_their_predictions(engine_file, tmp_path, capsys):
    record = tmp_path / "traces"
    arguments = ["run", "--model", "toy", "--workload", "calculator", "--length-scale", "0.1", "--jobs", "4"]
    arguments += ["--agents", "2", "--engine", engine_file, "--policy", "fcfs,astraea", "--seeds", "2"]
    assert run([*arguments, "--json", "--record", str(record)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["engine"], report["agents"]) == ("toy", "toy-cpu", 2)
    assert report["calibration"] is None
    assert [row["policy"] for row in report["policies"]] == ["fcfs", "astraea"]
    for row in report["policies"]:
        assert row["mean_jct_s"] == pytest.approx(fmean(seed["mean_jct_s"] for seed in row["per_seed"]))
        assert row["predicted_jct_s"] > 0
        assert row["mean_service_s"] < row["mean_jct_s"]
        for seed in (0, 1):
            trace = record / f"calculator-{row['policy']}-seed{seed}.ndjson"
            assert check_trace(read_trace(trace)).ok


def test_without_a_profile_it_measures_first_and_prints_a_table(capsys):
    arguments = ["run", "--model", "toy", "--workload", "calculator", "--length-scale", "0.1", "--jobs", "3"]
    arguments += ["--rate", "20", "--seconds", "2", "--pool-tokens", "2048", "--context-tokens", "512"]
    assert run([*arguments, "--policy", "astraea"]) == 0
    text = capsys.readouterr().out
    assert "Poisson arrivals at 20 jobs/s" in text
    assert "lengths x 0.1" in text
    assert "predicted" in text
    assert "Measured by astraea calibrate" in text


def test_a_load_is_a_multiple_of_the_simulated_capacity(engine_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))
    arguments = ["run", "--model", "toy", "--workload", "calculator", "--length-scale", "0.1", "--jobs", "4"]
    arguments += ["--engine", engine_file, "--policy", "astraea", "--json"]
    rates = []
    for load in ("0.5", "1.0"):
        assert run([*arguments, "--load", load]) == 0
        rates.append(json.loads(capsys.readouterr().out)["rate_jobs_per_s"])
    assert rates[1] == pytest.approx(2 * rates[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name either a trace or a workload"),
        (["--workload", "calculater"], "did you mean 'calculator'"),
        (["--workload", "calculator", "--policy", "none"], "unknown policy 'none'"),
        (["--workload", "calculator", "--agents", "2", "--rate", "1"], "name one of load, rate and agents"),
        (["--workload", "calculator", "--seeds", "0"], "the number of seeds must be at least 1"),
        (["--workload", "calculator", "--engine", "x.toml"], "cannot be read"),
        (["--workload", "calculator", "--time-scale", "0"], "the scale of times must be a number above 0"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    assert run(["run", "--model", "toy", *arguments]) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.out == ""


def test_a_token_that_an_answer_ends_after_is_part_of_its_text(toy):
    """As with a stop token it is an answer, but nothing is hidden of it."""
    answers = []
    with Engine(toy, Limits(device_blocks=16)) as engine:
        for name, ends in (("whole", {"max_output_tokens": 5}), ("cut", {"max_output_tokens": 9, "ends_after": 5})):
            request = TurnRequest(
                session_id=name, job_id=name, turn_id=name, prompt=[7, 8, 9], text=True, stop_tokens=frozenset(), **ends
            )
            answers.append(engine.submit(request))
        engine.run_until_idle()
    whole, cut = answers
    assert (whole.finish, cut.finish) == (Finish.LENGTH, Finish.STOP)
    assert whole.tokens == cut.tokens
    assert len(cut.tokens) == 5
    assert whole.text == cut.text == toy.tokenizer.decode(cut.tokens)
