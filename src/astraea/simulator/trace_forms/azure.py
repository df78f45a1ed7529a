"""Azure's form: CSV, one request a row, as in the LLM inference traces of 2023 and 2024 (AzurePublicDataset, CC-BY).

``TIMESTAMP,ContextTokens,GeneratedTokens``

There are no sessions and no tool waits in it: each row is a job of one turn. Arrivals are counted from the earliest
row; time stamps carry up to seven decimals (ticks of 100 ns) and are rounded half-even to microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_forms.reading import Place
from astraea.units import us_from_seconds

__all__ = ["AZURE_COLUMNS", "read_azure"]

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d{1,12})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_azure(source: str, lines: list[tuple[int, str]]) -> list[JobSpec]:
    """Return one job a row, in the order of rows; :class:`TraceError` at the first row that is no request."""
    header_line, header = lines[0]
    if tuple(name.strip() for name in header.split(",")) != AZURE_COLUMNS:
        Place(source, header_line).fail(f"the header must be {','.join(AZURE_COLUMNS)}")
    rows = [_row(Place(source, number), text) for number, text in lines[1:]]
    first_us = min((at_us for at_us, _ in rows), default=0)
    return [JobSpec(f"azure-{index}", (turn,), at_us - first_us) for index, (at_us, turn) in enumerate(rows)]


def _row(place: Place, text: str) -> tuple[int, TurnSpec]:
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != len(AZURE_COLUMNS):
        place.fail(f"expected {len(AZURE_COLUMNS)} columns, found {len(cells)}")
    counts = dict(zip(AZURE_COLUMNS[1:], (_whole(place, cell) for cell in cells[1:]), strict=True))
    context_tokens = place.count(counts, "ContextTokens", 1)
    output_tokens = place.count(counts, "GeneratedTokens", 1)
    return _micros(place, cells[0]), TurnSpec(context_tokens, context_tokens, output_tokens, None, 0)


def _whole(place: Place, cell: str) -> int:
    if not re.fullmatch(r"\d{1,10}", cell, re.ASCII):
        place.fail(f"{cell!r} is not a whole number of tokens")
    return int(cell)


def _micros(place: Place, cell: str) -> int:
    """Return a time stamp in microseconds since 1970; without a zone it is read as UTC."""
    match = _STAMP.fullmatch(cell)
    if match is None:
        place.fail(f"{cell!r} is not a time stamp")
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(whole + (zone or "+00:00"))
    except ValueError as error:
        place.fail(f"{cell!r} is not a time stamp", error)
    return (moment - _EPOCH) // timedelta(microseconds=1) + us_from_seconds(f"0{fraction or ''}")
