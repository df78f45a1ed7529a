"""Reading trace files as data: every complaint is a :class:`TraceError` that names file, line and key."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Never

from attrs import evolve, frozen

from astraea.errors import TraceError, UsageError
from astraea.units import us_from_seconds

__all__ = ["COUNT_MAX", "Place", "numbered_lines", "read_bytes"]

COUNT_MAX = 1_000_000_000
"""No count and no number of seconds (thirty years) in a trace is larger; one that is, is a damaged file."""


@frozen(slots=True)
class Place:
    """Where in which file the reader stands; the place that an error names."""

    source: str
    line: int
    inside: str = ""
    """Names the part of a line's record, e.g. ``turn 3: ``."""

    def at(self, inside: str) -> Place:
        """Return the same line with the part of its record named."""
        return evolve(self, inside=f"{self.inside}{inside}: ")

    def fail(self, sentence: str, cause: Exception | None = None) -> Never:
        """Raise :class:`TraceError` here."""
        raise TraceError(self.source, self.line, f"{self.inside}{sentence}") from cause

    def json(self, text: str) -> object:
        """Return the JSON value in ``text``; fractions become decimals, and NaN and infinities are refused."""
        try:
            value: object = json.loads(text, parse_float=Decimal, parse_constant=self._constant)
        except json.JSONDecodeError as error:
            Place(self.source, self.line + error.lineno - 1).fail(f"not valid JSON: {error.msg}", error)
        except (ValueError, RecursionError, InvalidOperation) as error:
            self.fail(f"not readable as JSON: {error}", error)
        return value

    def _constant(self, name: str) -> Never:
        self.fail(f"{name} is not a number")

    def record(self, value: object) -> dict[str, Any]:
        """Return ``value`` if it is a JSON object."""
        if not isinstance(value, dict):
            self.fail(f"expected an object, found {_kind(value)}")
        return value

    def rows(self, record: dict[str, Any], key: str) -> list[Any]:
        """Return the list under ``key``, which is required."""
        value = self._required(record, key)
        if not isinstance(value, list):
            self.fail(f"{key} must be a list, not {_kind(value)}")
        return value

    def count(self, record: dict[str, Any], key: str, least: int) -> int:
        """Return the whole number under ``key``, which is required, between ``least`` and ``COUNT_MAX``."""
        value = self._required(record, key)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(f"{key} must be a whole number, not {_kind(value)}")
        if not least <= value <= COUNT_MAX:
            self.fail(f"{key} must be between {least} and {COUNT_MAX}")
        return value

    def text(self, record: dict[str, Any], key: str, default: str) -> str:
        """Return the text under ``key``, or ``default`` where it is absent or null."""
        value = record.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(f"{key} must be a text, not {_kind(value)}")
        return value

    def seconds_us(self, record: dict[str, Any], key: str) -> int | None:
        """Return the decimal seconds under ``key`` in microseconds, or ``None`` where absent or null."""
        value = record.get(key)
        return None if value is None else us_from_seconds(self.number(value, key))

    def number(self, value: object, key: str) -> int | Decimal:
        """Return ``value`` if it is a number between 0 and ``COUNT_MAX``."""
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.fail(f"{key} must be a number, not {_kind(value)}")
        if not 0 <= value <= COUNT_MAX:
            self.fail(f"{key} must be between 0 and {COUNT_MAX}")
        return value

    def _required(self, record: dict[str, Any], key: str) -> object:
        if key not in record:
            self.fail(f"the key {key} is missing")
        return record[key]


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; :class:`UsageError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the trace cannot be read ({error.strerror})") from error


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a UTF-8 file that are not blank, each with its number from 1."""
    lines = []
    for number, raw in enumerate(read_bytes(path).split(b"\n"), start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            Place(str(path), number).fail("not UTF-8 text", error)
        if text:
            lines.append((number, text))
    return lines


def _kind(value: object) -> str:
    """Return in JSON's words what a value is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    names = {str: "a text", list: "a list", dict: "an object", int: "a whole number", Decimal: "a fraction"}
    return names[type(value)]
