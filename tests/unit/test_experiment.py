"""One scenario under several policies and seeds: the same work for everyone, and mistakes told before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from astraea.errors import AstraeaError, ContractError, UsageError
from astraea.simulator import experiment, parallel
from astraea.simulator.experiment import DEFAULT_POLICIES, check_policies, run_experiment
from astraea.simulator.parallel import RunRequest, default_workers, run_all
from astraea.simulator.profiles import load_engine
from astraea.simulator.scenario import JobSource, Scenario
from astraea.trace.reader import read_trace

SMALL = {"workload": "calculator", "jobs": 12}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def seen(monkeypatch):
    """Records what each run was given, and runs it."""
    requests = []

    def remember(given, **options):
        requests.extend(given)
        return run_all(given, **options)

    monkeypatch.setattr(experiment, "run_all", remember)
    return requests


def write_trace(path: Path, jobs: list[dict]) -> Path:
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


def trace_job(number: int, *, arrival_s=None, tokens=100, turns=1) -> dict:
    turn = {"new_prompt_tokens": tokens, "context_tokens": tokens, "output_tokens": 5, "tool": "t", "tool_s": 300.0}
    last = {**turn, "tool": None, "tool_s": None}
    return {"job_id": f"j{number}", "arrival_s": arrival_s, "turns": [turn] * (turns - 1) + [last]}


def test_every_policy_sees_the_same_jobs_and_arrivals_of_a_seed(seen):
    report = run_experiment(Scenario(**SMALL), policies=["fcfs", "astraea"], seeds=2, workers=1)
    by_seed = {request.seed: request.jobs for request in seen}
    assert [(request.policy, request.seed) for request in seen] == [
        ("fcfs", 0), ("astraea", 0), ("fcfs", 1), ("astraea", 1),
    ]  # fmt: skip
    assert all(request.jobs == by_seed[request.seed] for request in seen)
    assert by_seed[0] != by_seed[1]
    assert [verdict.policy for verdict in report.policies] == ["fcfs", "astraea"]
    assert report.rate_jobs_per_s == pytest.approx(0.95 * report.capacity_jobs_per_s)


def test_json_has_the_promised_keys_and_is_the_same_again():
    scenario = Scenario(**SMALL, load=1.1)
    first, second = (run_experiment(scenario, policies=["fcfs"], workers=1).as_json() for _ in range(2))
    assert list(first) == [
        "workload", "engine", "capacity_jobs_per_s", "rate_jobs_per_s", "jobs", "seeds", "policies",
    ]  # fmt: skip
    assert (first["workload"], first["engine"], first["jobs"], first["seeds"]) == ("calculator", "llama-8b-h100", 12, 1)
    json.dumps(first)
    assert first["policies"][0]["digest"] == second["policies"][0]["digest"]
    assert first["policies"][0]["per_seed"][0]["mean_jct_s"] == first["policies"][0]["mean_jct_s"]


def test_a_further_seed_changes_nothing_for_those_before_it():
    one, two = (run_experiment(Scenario(**SMALL), policies=["fcfs"], seeds=seeds, workers=1) for seeds in (1, 2))
    assert one.policies[0].per_seed[0].digest == two.policies[0].per_seed[0].digest
    assert one.policies[0].digest != two.policies[0].digest


def test_processes_give_what_one_process_gives():
    told = []
    scenario = Scenario(**SMALL, rate_jobs_per_s=2.0)
    alone = run_experiment(scenario, policies=["fcfs", "astraea"], workers=1)
    spread = run_experiment(
        scenario, policies=["fcfs", "astraea"], workers=2, on_progress=lambda *call: told.append(call)
    )
    assert [v.digest for v in alone.policies] == [v.digest for v in spread.policies]
    assert alone.slowdowns == spread.slowdowns
    assert told[-1] == ("policies", 24, 24)


def test_progress_is_told_by_stage():
    told = []
    run_experiment(Scenario(**SMALL), policies=["fcfs"], workers=1, on_progress=lambda *call: told.append(call))
    assert ("capacity", 12, 12) in told
    assert told[-1] == ("policies", 12, 12)


def test_a_rate_or_agents_need_no_capacity(seen):
    report = run_experiment(Scenario(**SMALL, rate_jobs_per_s=3.0), policies=["fcfs"], workers=1)
    assert (report.capacity_jobs_per_s, report.rate_jobs_per_s) == (None, 3.0)
    report = run_experiment(Scenario(**SMALL, agents=3), policies=["fcfs"], workers=1)
    assert (report.capacity_jobs_per_s, report.rate_jobs_per_s) == (None, None)
    assert seen[-1].agents == 3


def test_bursty_arrivals_differ_from_poisson_and_by_coefficient():
    rate = {"rate_jobs_per_s": 3.0}
    digests = {
        run_experiment(Scenario(**SMALL, **rate, **process), policies=["fcfs"], workers=1).policies[0].digest
        for process in ({}, {"arrivals": "bursty"}, {"arrivals": "bursty", "cv": 6.0})
    }
    assert len(digests) == 3


def test_a_trace_is_filtered_capped_and_drawn_by_seed(tmp_path, seen):
    jobs = [trace_job(n, turns=2) for n in range(4)] + [trace_job(8), trace_job(9, tokens=500_000, turns=2)]
    scenario = Scenario(
        trace=write_trace(tmp_path / "w.jsonl", jobs), jobs=6, min_turns=2, tool_cap_s=1.5, rate_jobs_per_s=1.0
    )
    report = run_experiment(scenario, policies=["fcfs"], workers=1)
    (request,) = seen
    assert [job.job_id.split("#")[0] for job in request.jobs[:4]] != ["j0", "j1", "j2", "j3"]
    assert {job.job_id.split("#")[0] for job in request.jobs} == {"j0", "j1", "j2", "j3"}
    assert len(request.jobs) == 6
    assert {turn.tool_wait_us for job in request.jobs for turn in job.turns} == {1_500_000, 0}
    assert report.workload == "w.jsonl"
    assert report.notes == (
        "2 of 6 jobs left out: 1 longer than the 131,072 tokens that llama-8b-h100 serves and 1 of fewer than 2 turns",
    )


def test_all_jobs_of_a_trace_by_default(tmp_path, seen):
    path = write_trace(tmp_path / "w.jsonl", [trace_job(n) for n in range(5)])
    assert run_experiment(Scenario(trace=path, agents=2), policies=["fcfs"], workers=1).jobs == 5


def test_recorded_arrivals_are_kept(tmp_path, seen):
    path = write_trace(tmp_path / "w.jsonl", [trace_job(n, arrival_s=10.0 - n) for n in range(4)])
    scenario = Scenario(trace=path, arrivals="recorded", jobs=3)
    report = run_experiment(scenario, policies=["fcfs"], workers=1)
    assert [(job.job_id, job.arrival_us) for job in seen[0].jobs] == [("j3", 0), ("j2", 1_000_000), ("j1", 2_000_000)]
    assert (report.capacity_jobs_per_s, report.rate_jobs_per_s) == (None, None)
    with pytest.raises(UsageError, match="same for every seed"):
        run_experiment(scenario, policies=["fcfs"], seeds=2)


def test_no_job_left_is_a_mistake(tmp_path):
    path = write_trace(tmp_path / "w.jsonl", [trace_job(0, tokens=500_000)])
    with pytest.raises(UsageError, match=r"w\.jsonl: none of the 1 jobs is left \(1 longer than the 131,072"):
        run_experiment(Scenario(trace=path), policies=["fcfs"])


def test_the_pool_counts_in_whole_blocks(tmp_path):
    profile = evolve(load_engine("llama-8b-h100"), pool_tokens=100)  # 6 blocks of 16: 96 tokens
    path = write_trace(tmp_path / "w.jsonl", [trace_job(0, tokens=91), trace_job(1, tokens=92)])
    source = JobSource(Scenario(trace=path), profile, [])
    assert {job.job_id.split("#")[0] for job in source.draw(0)} == {"j0"}


def test_runs_are_recorded_one_file_each(tmp_path):
    folder = tmp_path / "deep" / "traces"
    scenario = Scenario(**SMALL, rate_jobs_per_s=2.0, host_ratio=0.5)
    report = run_experiment(scenario, policies=["fcfs", "astraea"], workers=1, record=folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "calculator-astraea-seed0.ndjson", "calculator-fcfs-seed0.ndjson",
    ]  # fmt: skip
    header, *_, end = read_trace(folder / "calculator-astraea-seed0.ndjson")
    assert (header.policy, header.guarded, header.limits.host_blocks) == ("astraea", True, 13_437)
    assert dict(header.meta)["seed"] == 0
    assert end.digest == report.policies[1].digest


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="traces cannot be recorded there"):
        run_experiment(Scenario(**SMALL, rate_jobs_per_s=1.0), policies=["fcfs"], record=tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "either a trace or a workload"),
        ({"workload": "bfcl", "trace": Path("x")}, "either a trace or a workload"),
        ({"workload": "swebnch"}, "unknown workload 'swebnch' .did you mean 'swebench'"),
        ({"workload": "zzz"}, "unknown workload 'zzz': name one of bfcl"),
        ({**SMALL, "jobs": 0}, "number of jobs must be at least 1, not 0"),
        ({**SMALL, "min_turns": 0}, "least number of turns"),
        ({**SMALL, "host_ratio": -1.0}, "host pool's ratio"),
        ({**SMALL, "host_ratio": float("inf")}, "host pool's ratio"),
        ({**SMALL, "tool_cap_s": -2.0}, "cap on tool waits"),
        ({**SMALL, "load": 1.0, "agents": 2}, "one of load, rate and agents"),
        ({**SMALL, "load": -0.5}, "the load must be a number above 0, not -0.5"),
        ({**SMALL, "load": float("nan")}, "the load"),
        ({**SMALL, "rate_jobs_per_s": -1.0}, "the rate of arrivals must be a number above 0, not -1.0"),
        ({**SMALL, "agents": 0}, "number of agents"),
        ({**SMALL, "arrivals": "poison"}, "unknown arrival process 'poison' .did you mean 'poisson'"),
        ({**SMALL, "cv": 2.0}, "for bursty arrivals"),
        ({**SMALL, "cv": 0.0, "arrivals": "bursty"}, "coefficient of variation must be a number above 0"),
        ({**SMALL, "agents": 2, "arrivals": "bursty"}, "no room for arrivals"),
        ({**SMALL, "arrivals": "recorded", "load": 1.0}, "neither a load nor a rate"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(fields, complaint):
    with pytest.raises(UsageError, match=complaint):
        Scenario(**fields)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"policies": []}, "at least one policy"),
        ({"policies": ["fcsf"]}, "unknown policy 'fcsf' .did you mean 'fcfs'"),
        ({"seeds": 0}, "number of seeds"),
        ({"workers": 0}, "number of workers"),
        ({"warmup_share": 1.0}, "warm-up share"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused_before_it_runs(monkeypatch, options, complaint):
    monkeypatch.setattr(parallel, "simulate", None)
    with pytest.raises(UsageError, match=complaint):
        run_experiment(Scenario(**SMALL), **options)


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match=r"unknown engine 'lama-8b-h100' \(did you mean 'llama-8b-h100'"):
        run_experiment(Scenario(**SMALL, engine="lama-8b-h100"))
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        run_experiment(Scenario(**SMALL, engine="nowhere.toml"))


def test_recorded_arrivals_need_a_trace_that_has_them():
    with pytest.raises(UsageError, match="no recorded arrival"):
        run_experiment(Scenario(**SMALL, arrivals="recorded"), policies=["fcfs"])


def test_a_policy_named_twice_runs_once():
    assert check_policies(["fcfs", "astraea", "fcfs"]) == ("fcfs", "astraea")
    assert check_policies(DEFAULT_POLICIES) == DEFAULT_POLICIES


def test_a_broken_contract_is_told_with_policy_and_seed(monkeypatch):
    def broken(*_arguments, **_options):
        raise ContractError("context-busy", "told twice")

    monkeypatch.setattr(parallel, "simulate", broken)
    request = RunRequest(policy="fcfs", seed=3, jobs=(), profile=load_engine("llama-8b-h100"))
    with pytest.raises(AstraeaError, match="fcfs, seed 3: ContractError: context-busy: told twice"):
        run_all([request])


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1
