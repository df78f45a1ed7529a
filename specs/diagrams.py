"""Draws the state diagrams of ``turn.md`` and ``kv.md`` from the tables.

``python -m specs.diagrams`` writes each between the two marks of its page; with ``--check`` it writes nothing and exits
with 1 where a page is out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from astraea.policy.tables import KV_TABLE, TURN_TABLE, KvInput, KvState, TurnInput, TurnState

__all__ = ["BEGIN", "END", "PAGES", "TABLES", "diagram", "main", "redrawn"]

Table = Mapping[str, Mapping[str, str]]
"""States, and in each the inputs and the states to which they lead, by the names that the code gives them."""

BEGIN: Final = "<!-- diagram -->"
END: Final = "<!-- /diagram -->"


def _named(machine: Mapping[TurnState, dict[TurnInput, TurnState]] | Mapping[KvState, dict[KvInput, KvState]]) -> Table:
    return {str(state): {str(name): str(target) for name, target in row.items()} for state, row in machine.items()}


TABLES: Final[dict[str, Table]] = {"turn": _named(TURN_TABLE), "kv": _named(KV_TABLE)}
"""The machines by the name of their page."""
PAGES: Final[dict[str, Path]] = {name: Path(__file__).parent / f"{name}.md" for name in TABLES}


def diagram(table: Table) -> str:
    """Return a Mermaid state diagram: one arrow for each pair of states, with the inputs that lead along it."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(table))}"]
    for state, row in table.items():
        inputs: dict[str, list[str]] = {}
        for happened, target in row.items():
            inputs.setdefault(target, []).append(happened)
        lines += [f"    {state} --> {target}: {', '.join(names)}" for target, names in inputs.items()]
        if not row:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)


def redrawn(page: str, table: Table) -> str:
    """Return the page with the diagram of the table between its marks."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"a page has {BEGIN} and {END} once each, in this order")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n```mermaid\n{diagram(table)}\n```\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Draw the diagrams, or check that they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m specs.diagrams", description="Draw the state diagrams of specs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is out of date")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, path in PAGES.items():
        page = path.read_text(encoding="utf-8")
        drawn = redrawn(page, TABLES[name])
        if drawn == page:
            continue
        stale += 1
        if not check:
            path.write_text(drawn, encoding="utf-8")
        print(f"{path.name}: {'out of date' if check else 'drawn anew'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
