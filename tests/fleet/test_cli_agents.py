"""The command, and what it says where it cannot do its work."""

from __future__ import annotations

import json
import socket

import pytest

from astraea.cli import main
from astraea.cli.app import run

from .fake_server import FakeServer, serving

ASKED = ["agents", "--n", "2", "--jobs", "3", "--length-scale", "0.2"]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv("ASTRAEA_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_it_prints_a_table_as_simulate_does(capsys):
    with serving(FakeServer()) as url:
        assert run([*ASKED, "--url", url]) == 0
    said = capsys.readouterr()
    assert f"calculator on {url}; closed loop of 2 agents" in said.out
    assert "mean JCT" in said.out
    assert "Lengths x 0.2, tool waits x 1." in said.out
    assert not said.err


def test_it_prints_json(capsys):
    with serving(FakeServer()) as url:
        assert run([*ASKED, "--url", f"{url}/v1/", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["workload"], figures["agents"], figures["jobs"], figures["failed"]) == ("calculator", 2, 3, 0)


def test_without_a_server_it_is_one_sentence_and_2(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert run([*ASKED, "--url", url]) == 2
    assert capsys.readouterr().err == f"astraea: no server answers at {url}/v1: start one with astraea-serve\n"


def test_a_failed_job_is_told_of_and_the_command_ends_with_1(capsys):
    fake = FakeServer()
    fake.fails = lambda body: (400, "no") if "calculator-1" in body.get("session_id", "") else None
    with serving(fake) as url:
        assert run([*ASKED, "--url", url]) == 1
    assert "1 of 3 jobs failed: 400: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workload", "calculater"], "did you mean 'calculator'?"),
        (["--n", "0"], "the number of agents must be at least 1"),
        (["--length-scale", "0"], "the scale of lengths must be a number above 0"),
        (["--api-key-file", "/nowhere/key"], "the key in /nowhere/key cannot be read"),
        (["--url", "not a url"], "no server answers"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(capsys, arguments, complaint):
    assert run([*ASKED, *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_the_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch, capsys):
    fake = FakeServer()
    (tmp_path / "key").write_text("from-file\n")
    with serving(fake) as url:
        monkeypatch.setenv("OPENAI_API_KEY", "from-openai")
        run([*ASKED, "--url", url])
        monkeypatch.setenv("ASTRAEA_API_KEY", "from-ours")
        run([*ASKED, "--url", url])
        run([*ASKED, "--url", url, "--api-key-file", str(tmp_path / "key")])
    assert fake.keys == {"Bearer from-openai", "Bearer from-ours", "Bearer from-file"}


def test_without_the_sdk_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("astraea.cli.agents.find_spec", lambda _name: None)
    assert run(ASKED) == 2
    assert 'pip install "astraea[agents]"' in capsys.readouterr().err


def test_the_command_is_in_the_help(capsys):
    assert main is not None
    assert run(["--help"]) == 0
    assert "agents" in capsys.readouterr().out
