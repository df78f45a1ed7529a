"""The fleet against the server itself, with the toy model."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from tests.server.conftest import serving

from astraea.cli.app import run
from astraea.fleet.run import Fleet
from astraea.simulator.scenario import Scenario

SMALL = Scenario(workload="calculator", jobs=6, agents=3, length_scale=0.1)


@pytest.fixture(scope="module")
def server():
    with serving(max_model_len=2_048) as live:
        yield live


@pytest.mark.parametrize("is_anonymous", [False, True])
def test_the_server_sees_the_same_jobs_whether_they_are_named_or_not(server, is_anonymous):
    before, notes = server.numbers(), []
    verdict = Fleet(url=server.server.url, scenario=SMALL, is_anonymous=is_anonymous).run("toy", notes)
    assert (verdict.jobs, verdict.first_error, notes) == (6, "", [])
    assert verdict.cached_share > 0.5
    after, ended = server.numbers(), "astraea_job_completion_seconds_count{}"
    assert after[ended] - before.get(ended, 0) == 6
    assert after["astraea_jobs{}"] == before["astraea_jobs{}"]


DEMO = ["demo", "--model", "toy", "--n", "2", "--jobs", "2", "--length-scale", "0.1", "--workload", "calculator"]


def test_the_demo_starts_the_server_itself(capsys):
    assert run([*DEMO, "--policy", "job-fcfs", "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)["policies"]
    assert (figures["label"], figures["jobs"], figures["failed"]) == ("job-fcfs", 2, 0)


def test_the_demo_asks_the_model_and_shows_both_policies(capsys, monkeypatch):
    started = []

    @contextmanager
    def started_here(arguments):
        flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
        started.append(flags)
        with serving(max_model_len=2_048, policy=flags["--policy"], kv_tokens=int(flags["--kv-tokens"])) as live:
            yield live.server.url

    monkeypatch.setattr("astraea.cli.demo.running_server", started_here)
    assert run([*DEMO, "--kv-tokens", "4096"]) == 0
    said = capsys.readouterr().out
    assert "Why is the sky blue?" in said
    rows = [line.split()[1] for line in said.splitlines() if line.startswith("│ ")]
    assert rows == ["fcfs", "astraea"]
    assert started == [{"--model": "toy", "--policy": name, "--kv-tokens": "4096"} for name in rows]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policy", "fast"], "unknown policy 'fast'"),
        (["--policy", ","], "policy"),
        (["--kv-tokens", "0"], "the number of KV tokens must be at least 1"),
        (["--workload", "calculater"], "did you mean 'calculator'?"),
    ],
)
def test_what_the_demo_cannot_do_is_one_sentence(capsys, arguments, complaint):
    assert run(["demo", *arguments]) == 2
    assert complaint in capsys.readouterr().err
