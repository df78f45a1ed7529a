"""``astraea simulate``: the table, the JSON, the picture and the traces; mistakes end with code 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from astraea.cli.app import app, run
from astraea.cli.plots import check_plot_path
from astraea.errors import UsageError

QUICK = ["simulate", "--workload", "calculator", "--jobs", "10", "--rate", "2", "--workers", "1"]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))


def test_json_is_all_that_is_printed(capsys):
    assert run([*QUICK, "--policy", "fcfs,astraea", "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    assert list(report) == [
        "workload", "engine", "capacity_jobs_per_s", "rate_jobs_per_s", "jobs", "seeds", "policies",
    ]  # fmt: skip
    assert (report["jobs"], report["seeds"], report["rate_jobs_per_s"]) == (10, 1, 2.0)
    assert [row["policy"] for row in report["policies"]] == ["fcfs", "astraea"]


def test_typer_runs_it_too():
    done = CliRunner().invoke(app, [*QUICK, "--policy", "fcfs", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["workload"] == "calculator"


def test_the_table_has_a_row_a_policy_and_tells_what_is_unattainable(capsys):
    assert run([*QUICK, "--policy", "fcfs, astraea,srpt-oracle"]) == 0
    text = capsys.readouterr().out
    assert "calculator on llama-8b-h100: 10 jobs, Poisson arrivals at 2 jobs/s" in text
    assert "srpt-oracle *" in text
    assert "unattainable" in text
    assert "tool waits included" in text
    rows = [line for line in text.splitlines() if line.startswith("│ ") and "policy" not in line]
    assert len(rows) == 3


def test_the_capacity_is_printed(capsys):
    arguments = ["simulate", "--workload", "calculator", "--jobs", "10", "--policy", "fcfs", "--workers", "1"]
    assert run([*arguments, "--host-kv", "0.5", "--load", "0.5"]) == 0
    text = capsys.readouterr().out
    assert "load 0.5 (Poisson arrivals at" in text
    assert "capacity" in text
    assert "host pool 0.5 x the device pool" in text


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_drawn(tmp_path, capsys, suffix):
    file = tmp_path / f"out{suffix}"
    assert run([*QUICK, "--policy", "fcfs,astraea,srpt-oracle", "--plot", str(file)]) == 0
    assert file.stat().st_size > 10_000


@pytest.mark.parametrize(("name", "complaint"), [("out.jpeg2", "ends in .png"), ("nowhere/out.png", "no folder")])
def test_a_picture_that_cannot_be_drawn_is_told_before_anything_runs(tmp_path, name, complaint):
    with pytest.raises(UsageError, match=complaint):
        check_plot_path(tmp_path / name)


def test_traces_are_recorded(tmp_path, capsys):
    assert run([*QUICK, "--policy", "fcfs", "--json", "--record", str(tmp_path / "traces")]) == 0
    assert [file.name for file in (tmp_path / "traces").iterdir()] == ["calculator-fcfs-seed0.ndjson"]
    assert "traces are in" in capsys.readouterr().err


def test_jobs_that_are_left_out_are_counted_on_standard_error(tmp_path, capsys):
    turn = {"new_prompt_tokens": 50, "context_tokens": 50, "output_tokens": 5, "tool": None, "tool_s": None}
    large = {**turn, "new_prompt_tokens": 60_000, "context_tokens": 60_000}
    path = tmp_path / "work.jsonl"
    path.write_text("".join(json.dumps({"job_id": f"j{n}", "turns": [t]}) + "\n" for n, t in enumerate([turn, large])))
    arguments = ["simulate", "--trace", str(path), "--engine", "gptj-6b-a100", "--agents", "1", "--policy", "fcfs"]
    assert run([*arguments, "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == "astraea: 1 of 2 jobs left out: 1 longer than the 50,000 tokens that gptj-6b-a100 serves\n"
    assert json.loads(output.out)["jobs"] == 1
    path.write_text(json.dumps({"job_id": "j", "turns": [large]}) + "\n")
    assert run([*arguments, "--json"]) == 2
    assert "none of the 1 jobs is left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["simulate"], "name either a trace or a workload"),
        (["simulate", "--workload", "swebenhc"], "did you mean 'swebench'"),
        (["simulate", "--workload", "swebench", "--engine", "llama"], "unknown engine 'llama'"),
        (["simulate", "--workload", "swebench", "--policy", "astrea"], "did you mean 'astraea'"),
        (["simulate", "--workload", "swebench", "--policy", ","], "at least one policy"),
        (["simulate", "--workload", "swebench", "--rate", "-1"], "must be a number above 0, not -1.0"),
        (["simulate", "--workload", "swebench", "--load", "1", "--agents", "3"], "one of load, rate and agents"),
        (["simulate", "--trace", "nowhere.jsonl"], "nowhere.jsonl: there is no such trace"),
        (["simulate", "--workload", "swebench", "--plot", "out.txt"], "a plot is a file that ends in"),
        (["simulate", "--workload", "swebench", "--warmup-share", "1"], "warm-up share"),
        (["simulate", "--workload", "swebench", "--seeds", "0"], "number of seeds"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(capsys, arguments, sentence):
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert sentence in output.err
    assert output.err.count("\n") == 1


def test_a_malformed_line_is_told_with_its_number(tmp_path):
    path = tmp_path / "work.jsonl"
    turn = {"new_prompt_tokens": 50, "context_tokens": 50, "output_tokens": 5, "tool": None, "tool_s": None}
    path.write_text(json.dumps({"job_id": "j", "turns": [turn]}) + "\n" + '{"job_id": "k", "turns": [{}]}\n')
    script = "from astraea.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", "--trace", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{path}:2: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_two_processes_and_hash_seeds_give_the_same_digests(tmp_path):
    script = "from astraea.cli import main; main()"
    arguments = ["simulate", "--workload", "calculator", "--jobs", "20", "--rate", "3", "--policy", "fcfs,astraea"]
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments, "--seeds", "2", "--json"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path), "PATH": ""},
        )
        digests.add(tuple(row["digest"] for row in json.loads(done.stdout)["policies"]))
    assert len(digests) == 1
