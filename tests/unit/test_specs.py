"""The pages of ``specs/`` say what the tables say, row for row, and their diagrams are those of the tables."""

from __future__ import annotations

import re

import pytest

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
