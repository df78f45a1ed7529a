"""``astraea calibrate``: a profile that the simulator reads, and mistakes that are told in a sentence."""

from __future__ import annotations

import json
import sys

import pytest
from attrs import evolve

from astraea.cli.app import run
from astraea.cli.calibration import draft_profile, sized
from astraea.errors import UsageError
from astraea.executor.model import load_model
from astraea.simulator.profiles import load_engine

QUICK = ["calibrate", "--model", "toy", "--seconds", "3", "--pool-tokens", "2048", "--context-tokens", "256"]
TOKEN_BYTES = 4 * 2 * 2 * 64 * 4


def test_the_profile_is_one_that_the_simulator_loads(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "toy.toml"
    assert run([*QUICK, "--json", "--out", str(file)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    assert (report["model"], "random" in report["note"]) == ("toy", True)
    profile = load_engine(str(file))
    assert profile.name == report["engine"]["name"] == "toy-cpu"
    assert (profile.pool_tokens, profile.context_tokens_max, profile.block_tokens) == (2048, 256, 16)
    assert profile.kv_bytes_per_token == TOKEN_BYTES
    assert profile.step_ns > 10_000, "no step of a real model takes less than 10 us"
    assert profile.host_bytes_per_s > 10**7
    assert report["held_out"]["batches"] > 10
    assert 0 < report["held_out"]["median"] < 1
    assert report["swap_us"] < report["recompute_us"], "to copy the toy's cache is cheaper than to compute it"
    assert run(["simulate", "--workload", "calculator", "--engine", str(file), "--length-scale", "0.1", "--json",
                "--jobs", "5", "--policy", "fcfs", "--rate", "1", "--workers", "1"]) == 0  # fmt: skip


def test_what_is_printed_is_the_file_itself(tmp_path, capsys):
    file = tmp_path / "toy.toml"
    assert run([*QUICK, "--out", str(file)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(file.read_text())
    printed = tmp_path / "printed.toml"
    printed.write_text(text)
    assert load_engine(str(printed)) == load_engine(str(file))
    assert "batches that the fit did not see" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seconds", "0"], "the time to measure must be a number above 0"),
        (["--seed", "-1"], "seed must not be negative"),
        (["--out", "profile.txt"], "a profile is a .toml file"),
        (["--out", "no/such/folder/p.toml"], "a profile is a .toml file in a folder that is there"),
        (["--dtype", "int8"], "the number type must be one of"),
        (["--threads", "0"], "the number of threads must be at least 1"),
        (["--pool-tokens", "0"], "pool_tokens must be a whole number of at least 1"),
        (["--context-tokens", "100000"], "toy takes contexts of up to 8,192 tokens, not 100,000"),
        (["--context-tokens", "4096"], "does not fit a pool of 2,048"),
        (["--model", "./nowhere"], "there is no such folder"),
        (["--device", "nonsense"], "there is no such kind of device"),
        (["--device", "meta"], "models run on cpu and cuda alone"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    assert run([*QUICK, *arguments]) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_a_profile_of_another_model_is_refused():
    toy = load_model("toy")
    profile = draft_profile(toy)
    assert sized(profile, toy, {"pool_tokens": None}) == profile
    assert sized(profile, toy, {"pool_tokens": 1024}).context_tokens_max == 1024
    with pytest.raises(UsageError, match="measured on another model or number type"):
        sized(evolve(profile, kv_bytes_per_token=TOKEN_BYTES // 2), toy, {})


@pytest.mark.parametrize("command", [QUICK, ["run", "--model", "toy", "--workload", "calculator"]])
def test_without_the_extra_it_is_told_what_to_install(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "astraea.executor.machine")
    assert run(command) == 2
    assert 'needs the package torch: install it with pip install "astraea[executor]"' in capsys.readouterr().err
