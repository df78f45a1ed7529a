"""docs/sessions.md has the tables of the code, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from astraea.server.fields import Header, field_name
from astraea.server.hints import SOURCES
from astraea.server.identity import CONVENTIONS

PAGE = Path(__file__).parents[2] / "docs" / "sessions.md"


def shown(place):
    if place is None:
        return ""
    return f"header `{place.name}`" if isinstance(place, Header) else f"`{field_name(place)}`"


def convention_rows():
    for one in CONVENTIONS:
        final = shown(one.final) + (f" = `{one.final_word}`" if one.final_word else "")
        places = [" or ".join(map(shown, one.session)), shown(one.child), shown(one.parent), shown(one.job), final]
        yield f"| {one.name} | {' | '.join(places)} |"


def hint_rows():
    for one in SOURCES:
        if one.words is not None:
            how = ", ".join(f"`{word}` {value:,}" for word, value in one.words.items())
        else:
            how = "as it is" if one.times == 1 else f"x {one.times:,}"
        yield f"| {one.hint} | {shown(one.place)} | {how} |"


@pytest.mark.parametrize(("mark", "rows"), [("conventions", convention_rows), ("hints", hint_rows)])
def test_a_table_of_the_page_is_that_of_the_code(mark, rows):
    text = PAGE.read_text(encoding="utf-8")
    _, _, after = text.partition(f"<!-- {mark} -->\n")
    table, end, _ = after.partition(f"<!-- /{mark} -->")
    assert end, "the marks are not there"
    assert table.splitlines()[2:] == list(rows()), "\n".join(["the page should have:", *rows()])
