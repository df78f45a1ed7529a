"""Events, decisions and limits as plain JSON objects, and back through their own constructors.

The form is read off the classes: a JSON object has the class's fields by name, an enum is its value, a tuple is a list,
and whatever stands at its default may be left out. Two fields are shorter: ``Because.numbers`` is an object, and a
``Chunk`` is a pair ``[turn_id, tokens]``. Reading is strict: an unknown name, a missing or unknown field and a value of
the wrong type (``true`` is not 1) are each a :class:`~astraea.errors.TraceError` with the line. Nothing is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Never, TypeAlias, get_args, get_origin, get_type_hints

import attrs

from astraea import decisions, events
from astraea.decisions import Because, Chunk, Decision
from astraea.errors import TraceError
from astraea.events import Event
from astraea.policy.limits import Limits

__all__ = [
    "canonical_json",
    "chunks_to_json",
    "decision_from_json",
    "decision_to_json",
    "event_from_json",
    "event_to_json",
    "limits_from_json",
    "limits_to_json",
    "parse_line",
]

JsonObject: TypeAlias = dict[str, Any]
_Reader: TypeAlias = Callable[[object], Any]
_Writer: TypeAlias = Callable[[Any], Any]


class _WrongError(ValueError):
    """Says what is wrong with a value, without saying where the value stands."""


@attrs.frozen(slots=True)
class _Field:
    name: str
    default: object
    read: _Reader
    write: _Writer | None
    """``None`` where the value is JSON as it stands."""


@attrs.frozen(slots=True)
class _Form:
    """How one class is written and read."""

    cls: type[Any]
    fields: tuple[_Field, ...]
    names: frozenset[str]


def canonical_json(value: object) -> str:
    """Return the one text of a JSON value: no blanks, ASCII only, keys in the order in which they stand."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


# What each type is in JSON


def _kind(value: object) -> str:
    names = {NoneType: "null", bool: "true or false", int: "a whole number", float: "a fraction", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")


def _exactly(cls: type, words: str) -> _Reader:
    def read(value: object) -> object:
        if type(value) is not cls:  # bool is an int to isinstance
            raise _WrongError(f"must be {words}, not {_kind(value)}")
        return value

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda value: None if value is None else inner(value)


def _one_of(cls: type[StrEnum]) -> _Reader:
    known = {member.value: member for member in cls}

    def read(value: object) -> StrEnum:
        member = known.get(value) if isinstance(value, str) else None
        if member is None:
            raise _WrongError(f"{_shown(value)} is not one of {', '.join(known)}")
        return member

    return read


def _tuple_of(inner: _Reader) -> _Reader:
    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _WrongError(f"must be a list, not {_kind(value)}")
        return tuple([inner(item) for item in value])

    return read


def _read_numbers(value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, dict):
        raise _WrongError(f"must be an object, not {_kind(value)}")
    for name, number in value.items():
        if type(number) is not int:
            raise _WrongError(f"{name} must be a whole number, not {_kind(number)}")
    return tuple(value.items())


def _read_chunk(value: object) -> Chunk:
    if not isinstance(value, list) or [type(item) for item in value] != [str, int]:
        raise _WrongError("must hold pairs of a turn id and a number of tokens")
    return Chunk(value[0], value[1])


def chunks_to_json(chunks: tuple[Chunk, ...]) -> list[list[str | int]]:
    """Return the chunks of a batch as pairs."""
    return [[chunk.turn_id, chunk.tokens] for chunk in chunks]


def _shown(value: object) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004


# Forms, read off the classes


def _codec_of(hint: Any, *, full: bool) -> tuple[_Reader, _Writer | None]:  # noqa: ANN401 -- a type hint
    """Return how values of a type hint are read and written."""
    if get_origin(hint) is UnionType:
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        read, write = _codec_of(inner, full=full)
        return _optional(read), None if write is None else (lambda v, w=write: None if v is None else w(v))
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if item is Chunk:
            return _tuple_of(_read_chunk), chunks_to_json
        read, write = _codec_of(item, full=full)
        return _tuple_of(read), lambda values, w=write: [w(value) for value in values]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _one_of(hint), str
    if isinstance(hint, type) and attrs.has(hint):
        form = _form_of(hint, full=full)
        return (lambda value: _build(form, value)), lambda value: _object_of(form, value)
    words = {int: "a whole number", str: "a text", bool: "true or false"}
    return _exactly(hint, words[hint]), None


def _form_of(cls: type[Any], *, full: bool = False) -> _Form:
    """Return the form of an attrs class; a ``full`` one writes defaults too."""
    hints = get_type_hints(cls)
    fields = []
    for attribute in attrs.fields(cls):
        is_numbers = cls is Because and attribute.name == "numbers"
        read, write = (_read_numbers, dict) if is_numbers else _codec_of(hints[attribute.name], full=full)
        default = attribute.default
        if full and default is not attrs.NOTHING:
            default = _WRITTEN
        fields.append(_Field(attribute.name, default, read, write))
    return _Form(cls, tuple(fields), frozenset(field.name for field in fields))


_WRITTEN = object()
"""Stands for a default that is written all the same, so that it may change without changing what a file means."""


def _object_of(form: _Form, value: object) -> JsonObject:
    record: JsonObject = {}
    for field in form.fields:
        part = getattr(value, field.name)
        default = field.default
        if part is default or (default is not attrs.NOTHING and part == default):
            continue
        record[field.name] = part if field.write is None else field.write(part)
    return record


def _build(form: _Form, value: object) -> Any:  # noqa: ANN401 -- one of many classes
    """Return an instance of the form's class from a JSON object; raise :class:`_WrongError`."""
    if not isinstance(value, dict):
        raise _WrongError(f"must be an object, not {_kind(value)}")
    unknown = value.keys() - form.names
    if unknown:
        raise _WrongError(f"has no field {_shown(min(unknown))}")
    values = {}
    for field in form.fields:
        if field.name in value:
            values[field.name] = _read_field(field, value[field.name])
        elif field.default is attrs.NOTHING:
            raise _WrongError(f"lacks the field {field.name}")
    try:
        return form.cls(**values)
    except (TypeError, ValueError) as error:  # a validator of Limits; its first argument is the sentence
        raise _WrongError(f"is not allowed: {error.args[0]}") from error


def _read_field(field: _Field, value: object) -> object:
    try:
        return field.read(value)
    except _WrongError as wrong:
        raise _WrongError(f"{field.name} {wrong}") from None


_EVENTS = {cls.__name__: _form_of(cls) for cls in get_args(events.Event)}
_DECISIONS = {cls.__name__: _form_of(cls) for cls in get_args(decisions.Decision)}
_LIMITS = _form_of(Limits, full=True)


# The public verbs


def event_to_json(event: Event) -> JsonObject:
    """Return an event as a JSON object whose first key, ``event``, names its class."""
    name = type(event).__name__
    return {"event": name, **_object_of(_EVENTS[name], event)}


def event_from_json(record: JsonObject, *, source: str = "trace", line: int = 0) -> Event:
    """Return the event that a JSON object holds; raise :class:`TraceError` where it holds none."""
    event: Event = _from_named(_EVENTS, "event", record, source, line)
    return event


def decision_to_json(decision: Decision) -> JsonObject:
    """Return a decision as a JSON object whose first key, ``decision``, names its class."""
    name = type(decision).__name__
    return {"decision": name, **_object_of(_DECISIONS[name], decision)}


def decision_from_json(record: JsonObject, *, source: str = "trace", line: int = 0) -> Decision:
    """Return the decision that a JSON object holds; raise :class:`TraceError` where it holds none."""
    decision: Decision = _from_named(_DECISIONS, "decision", record, source, line)
    return decision


def limits_to_json(limits: Limits) -> JsonObject:
    """Return limits as a JSON object, defaults included."""
    return _object_of(_LIMITS, limits)


def limits_from_json(record: object, *, source: str = "trace", line: int = 0) -> Limits:
    """Return the limits that a JSON object holds; raise :class:`TraceError` where one is missing or out of bounds."""
    try:
        limits: Limits = _build(_LIMITS, record)
    except _WrongError as wrong:
        raise TraceError(source, line, f"limits {wrong}") from wrong
    return limits


def _from_named(forms: dict[str, _Form], key: str, record: JsonObject, source: str, line: int) -> Any:  # noqa: ANN401
    name = record.get(key)
    form = forms.get(name) if isinstance(name, str) else None
    if form is None:
        raise TraceError(source, line, f"{_shown(name)} is no {key}; known are {', '.join(forms)}")
    fields = {field: value for field, value in record.items() if field != key}
    try:
        return _build(form, fields)
    except _WrongError as wrong:
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
        fail(f"expected an object, found {_kind(value)}")
    return value
