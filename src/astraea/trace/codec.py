"""Events, decisions and limits as plain JSON objects, and back through their own constructors.

The form is read off the classes: a JSON object has the class's fields by name, an enum is its value, a tuple is a list,
and whatever stands at its default may be left out. Two fields are shorter: ``Because.numbers`` is an object, and a
``Chunk`` is a pair ``[turn_id, tokens]``. Reading is strict: an unknown name, a missing or unknown field and a value of
the wrong type (``true`` is not 1) are each a :class:`~astraea.errors.TraceError` with the line. Nothing is ever run.
"""

from __future__ import annotations

import json
from typing import Any, Never, TypeAlias, get_args

from astraea.decisions import Decision
from astraea.errors import TraceError
from astraea.events import Event
from astraea.policy.limits import Limits
from astraea.trace.forms import Form, WrongValueError, form_of, kind_of, read_object, shown, write_object

__all__ = [
    "canonical_json",
    "decision_from_json",
    "decision_to_json",
    "event_from_json",
    "event_to_json",
    "limits_from_json",
    "limits_to_json",
    "parse_line",
]

JsonObject: TypeAlias = dict[str, Any]


def canonical_json(value: object) -> str:
    """Return the one text of a JSON value: no blanks, ASCII only, keys in the order in which they stand."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


_EVENTS = {cls.__name__: form_of(cls) for cls in get_args(Event)}
_DECISIONS = {cls.__name__: form_of(cls) for cls in get_args(Decision)}
_LIMITS = form_of(Limits, full=True)


# The public verbs


def event_to_json(event: Event) -> JsonObject:
    """Return an event as a JSON object whose first key, ``event``, names its class."""
    name = type(event).__name__
    return {"event": name, **write_object(_EVENTS[name], event)}


def event_from_json(record: JsonObject, *, source: str = "trace", line: int = 0) -> Event:
    """Return the event that a JSON object holds; raise :class:`TraceError` where it holds none."""
    event: Event = _from_named(_EVENTS, "event", record, source, line)
    return event


def decision_to_json(decision: Decision) -> JsonObject:
    """Return a decision as a JSON object whose first key, ``decision``, names its class."""
    name = type(decision).__name__
    return {"decision": name, **write_object(_DECISIONS[name], decision)}


def decision_from_json(record: JsonObject, *, source: str = "trace", line: int = 0) -> Decision:
    """Return the decision that a JSON object holds; raise :class:`TraceError` where it holds none."""
    decision: Decision = _from_named(_DECISIONS, "decision", record, source, line)
    return decision


def limits_to_json(limits: Limits) -> JsonObject:
    """Return limits as a JSON object, defaults included."""
    return write_object(_LIMITS, limits)


def limits_from_json(record: object, *, source: str = "trace", line: int = 0) -> Limits:
    """Return the limits that a JSON object holds; raise :class:`TraceError` where one is missing or out of bounds."""
    try:
        limits: Limits = read_object(_LIMITS, record)
    except WrongValueError as wrong:
        raise TraceError(source, line, f"limits {wrong}") from wrong
    return limits


def _from_named(forms: dict[str, Form], key: str, record: JsonObject, source: str, line: int) -> Any:  # noqa: ANN401
    name = record.get(key)
    form = forms.get(name) if isinstance(name, str) else None
    if form is None:
        raise TraceError(source, line, f"{shown(name)} is no {key}; known are {', '.join(forms)}")
    fields = {field: value for field, value in record.items() if field != key}
    try:
        return read_object(form, fields)
    except WrongValueError as wrong:
        raise TraceError(source, line, f"{name} {wrong}") from wrong


def parse_line(text: str, *, source: str = "trace", line: int = 0) -> JsonObject:
    """Return the JSON object that a line holds; raise :class:`TraceError` where it holds anything else."""

    def fail(sentence: str, cause: Exception | None = None) -> Never:
        raise TraceError(source, line, sentence) from cause

    def object_of(pairs: list[tuple[str, Any]]) -> JsonObject:
        record = dict(pairs)
        if len(record) != len(pairs):
            fail("an object names the same field twice")
        return record

    try:
        value = json.loads(text, object_pairs_hook=object_of, parse_constant=lambda name: fail(f"{name} is no number"))
    except json.JSONDecodeError as error:
        fail(f"not valid JSON: {error.msg} at column {error.colno}", error)
    except (ValueError, RecursionError) as error:
        fail(f"not readable as JSON: {error}", error)
    if not isinstance(value, dict):
        fail(f"expected an object, found {kind_of(value)}")
    return value
