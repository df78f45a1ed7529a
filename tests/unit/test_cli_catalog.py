"""The lists of names, and what every command line has in common: help, version, and one sentence for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import astraea
from astraea import cli
from astraea.cli.app import run
from astraea.rivals import policy_names
from astraea.simulator.generators import workload_names
from astraea.simulator.profiles import engine_names


@pytest.mark.parametrize(
    ("command", "names"), [("policies", policy_names()), ("engines", engine_names()), ("workloads", workload_names())]
)
def test_a_list_names_everything_with_a_line_and_a_source(capsys, command, names):
    assert run([command]) == 0
    text = capsys.readouterr().out
    assert run([command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(names)
    for row in rows:
        assert row["summary"]
        assert row["source"]
        assert row["name"] in text
        assert str(row["summary"]) in text


def test_policies_tell_what_cannot_be_had(capsys):
    run(["policies", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["srpt-oracle"]["clairvoyant"], rows["astraea"]["clairvoyant"]) == (True, False)
    assert (rows["astraea"]["guarded"], rows["fcfs"]["guarded"]) == (True, False)


def test_the_version_is_that_of_the_package(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"astraea {astraea.__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        [], ["simulate"], ["policies"], ["engines"], ["workloads"], ["check"], ["explain"], ["export"], ["replay"],
        ["bench"], ["bench", "policy"],
    ],
)  # fmt: skip
def test_every_command_has_help(capsys, command):
    assert run([*command, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["simulate"], ["check"], ["explain"], ["export"], ["replay"], ["bench", "policy"]])
def test_help_shows_an_example(capsys, command):
    run([*command, "--help"])
    assert f"astraea {' '.join(command)} " in " ".join(capsys.readouterr().out.split())


def test_no_command_shows_the_help(capsys):
    assert run([]) == 0
    assert "astraea simulate --workload swebench" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["simulat"], "No such command 'simulat'"),
        (["simulate", "--lod", "1"], "No such option: --lod"),
        (["simulate", "--workload", "swebench", "--jobs", "many"], "Invalid value for '--jobs'"),
        (["bench"], "Missing command"),
        (["bench", "policy", "--rounds", "0"], "the number of rounds must be at least 1, not 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(capsys, arguments, sentence):
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("astraea: ")
    assert sentence in output.err
    assert output.err.count("\n") == 1


def test_an_error_that_is_no_mistake_comes_through(monkeypatch):
    def broken(_name):
        raise ZeroDivisionError

    monkeypatch.setattr("astraea.cli.catalog.load_engine", broken)
    with pytest.raises(ZeroDivisionError):
        run(["engines"])


def test_ctrl_c_is_no_stack_trace(monkeypatch, capsys):
    def interrupted(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr("astraea.cli.catalog.load_engine", interrupted)
    assert run(["engines"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(package):
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from astraea.cli import main\n"
        "sys.argv = ['astraea', 'policies']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'pip install "astraea[cli]"' in done.stderr


def test_a_broken_installation_of_ours_is_not_blamed_on_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "astraea.cli.app", None)
    with pytest.raises(ModuleNotFoundError, match=r"astraea\.cli\.app"):
        cli.main()
