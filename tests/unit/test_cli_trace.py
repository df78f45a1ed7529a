"""``astraea check``, ``explain``, ``export`` and ``replay`` on a trace that a simulation recorded."""

from __future__ import annotations

import json

import pytest

from astraea.cli.app import run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    arguments = ["--workload", "bfcl", "--jobs", "8", "--rate", "5", "--policy", "astraea", "--workers", "1"]
    assert run(["simulate", *arguments, "--json", "--record", str(folder)]) == 0
    (file,) = folder.iterdir()
    return file


@pytest.fixture
def broken(recorded, tmp_path):
    """The same trace, one decision of it changed: a chunk of more tokens than the turn has."""
    lines = recorded.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"decision":"RunBatch"' in line and '"chunks"' in line)
    record = json.loads(lines[number])
    record["chunks"][0][1] += 100_000
    lines[number] = json.dumps(record)
    file = tmp_path / "broken.ndjson"
    file.write_text("\n".join(lines) + "\n")
    return file, number + 1


@pytest.fixture
def cut(recorded, tmp_path):
    file = tmp_path / "cut.ndjson"
    file.write_text("".join(recorded.read_text().splitlines(keepends=True)[:-1]))
    return file


def test_check_tells_that_no_claim_is_broken(recorded, capsys):
    assert run(["check", str(recorded)]) == 0
    text = capsys.readouterr().out
    assert "no claim is broken: INV-1" in text
    assert "worst bypass" in text
    assert run(["check", str(recorded), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["breach"], report["policy"], report["jobs"]) == (True, None, "astraea", 8)


def test_check_names_the_first_offending_line(broken, capsys):
    file, line = broken
    assert run(["check", str(file)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}:{line}: ")
    assert run(["check", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["breach"]["line"] == line


def test_replay_gives_the_recorded_digest(recorded, capsys):
    assert run(["replay", str(recorded)]) == 0
    assert "the replay is what was recorded" in capsys.readouterr().out
    assert run(["replay", str(recorded), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["same"], result["digest"]) == (True, result["recorded_digest"])


def test_replay_names_the_first_difference(broken, capsys):
    file, line = broken
    assert run(["replay", str(file)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}:{line}: the replay differs")


def test_a_trace_that_was_cut_short_is_told(cut, capsys):
    assert run(["check", str(cut)]) == 0
    assert run(["replay", str(cut)]) == 0
    assert capsys.readouterr().out.count("no end line") == 2


def test_explain_tells_a_story(recorded, capsys):
    assert run(["explain", str(recorded), "--turn", "bfcl-1/0.0"]) == 0
    assert "arrived for job 'bfcl-1'" in capsys.readouterr().out
    assert run(["explain", str(recorded), "--turn", "bfcl-1/0.0", "--json"]) == 0
    story = json.loads(capsys.readouterr().out)
    assert story["turn"] == "bfcl-1/0.0"
    assert len(story["sentences"]) >= 3


def test_export_writes_what_perfetto_opens(recorded, tmp_path, capsys):
    file = tmp_path / "run.json"
    assert run(["export", str(recorded), "--perfetto", "--out", str(file)]) == 0
    assert run(["export", str(recorded), "--perfetto"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text())
    names = {event["name"].split(":")[0] for event in json.loads(file.read_text())["traceEvents"]}
    assert {"queued", "prefill", "decode", "tool wait"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "nowhere.ndjson"], "nowhere.ndjson: there is no such trace"),
        (["replay", "nowhere.ndjson"], "nowhere.ndjson: there is no such trace"),
        (["export", "nowhere.ndjson", "--perfetto"], "nowhere.ndjson: there is no such trace"),
        (["check"], "Missing argument"),
        (["explain", "TRACE"], "Missing option '--turn'"),
        (["explain", "TRACE", "--turn", "bfcl-1/0.O"], "did you mean 'bfcl-1/0.0'"),
        (["export", "TRACE"], "name the form to export to"),
        (["export", "TRACE", "--perfetto", "--out", "nowhere/run.json"], "the file cannot be written"),
        (["check", __file__], f"{__file__}:1: "),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(recorded, capsys, arguments, sentence):
    arguments = [str(recorded) if argument == "TRACE" else argument for argument in arguments]
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_failed_export_leaves_no_file(tmp_path, capsys):
    file = tmp_path / "run.json"
    assert run(["export", __file__, "--perfetto", "--out", str(file)]) == 2
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.startswith(f"astraea: {__file__}:1: ")
