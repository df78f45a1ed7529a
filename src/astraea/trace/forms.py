"""How attrs classes stand in JSON, read off their fields and type hints, and how strictly they are read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import attrs

from astraea.decisions import Because, Chunk

__all__ = ["Form", "WrongValueError", "chunks_to_json", "form_of", "kind_of", "read_object", "shown", "write_object"]

_Reader: TypeAlias = Callable[[object], Any]
_Writer: TypeAlias = Callable[[Any], Any]


class WrongValueError(ValueError):
    """Says what is wrong with a value, without saying where the value stands."""


@attrs.frozen(slots=True)
class _Field:
    name: str
    default: object
    read: _Reader
    write: _Writer | None
    """``None`` where the value is JSON as it stands."""


@attrs.frozen(slots=True)
class Form:
    """How one class is written and read."""

    cls: type[Any]
    fields: tuple[_Field, ...]
    names: frozenset[str]


# What each type is in JSON


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    names = {NoneType: "null", bool: "true or false", int: "a whole number", float: "a fraction", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")


def _exactly(cls: type, words: str) -> _Reader:
    def read(value: object) -> object:
        if type(value) is not cls:  # bool is an int to isinstance
            raise WrongValueError(f"must be {words}, not {kind_of(value)}")
        return value

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda value: None if value is None else inner(value)


def _one_of(cls: type[StrEnum]) -> _Reader:
    known = {member.value: member for member in cls}

    def read(value: object) -> StrEnum:
        member = known.get(value) if isinstance(value, str) else None
        if member is None:
            raise WrongValueError(f"{shown(value)} is not one of {', '.join(known)}")
        return member

    return read


def _tuple_of(inner: _Reader) -> _Reader:
    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WrongValueError(f"must be a list, not {kind_of(value)}")
        return tuple([inner(item) for item in value])

    return read


def _read_numbers(value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, dict):
        raise WrongValueError(f"must be an object, not {kind_of(value)}")
    for name, number in value.items():
        if type(number) is not int:
            raise WrongValueError(f"{name} must be a whole number, not {kind_of(number)}")
    return tuple(value.items())


def _read_chunk(value: object) -> Chunk:
    if not isinstance(value, list) or [type(item) for item in value] != [str, int]:
        raise WrongValueError("must hold pairs of a turn id and a number of tokens")
    return Chunk(value[0], value[1])


def chunks_to_json(chunks: tuple[Chunk, ...]) -> list[list[str | int]]:
    """Return the chunks of a batch as pairs."""
    return [[chunk.turn_id, chunk.tokens] for chunk in chunks]


def shown(value: object) -> str:
    """Return the beginning of a JSON value for a sentence."""
    text = json.dumps(value)
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
        form = form_of(hint, full=full)
        return (lambda value: read_object(form, value)), lambda value: write_object(form, value)
    words = {int: "a whole number", str: "a text", bool: "true or false"}
    return _exactly(hint, words[hint]), None


def form_of(cls: type[Any], *, full: bool = False) -> Form:
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
    return Form(cls, tuple(fields), frozenset(field.name for field in fields))


_WRITTEN = object()
"""Stands for a default that is written all the same, so that it may change without changing what a file means."""


def write_object(form: Form, value: object) -> dict[str, Any]:
    """Return an instance as a JSON object; what stands at its default is left out, unless the form is full."""
    record: dict[str, Any] = {}
    for field in form.fields:
        part = getattr(value, field.name)
        default = field.default
        if part is default or (default is not attrs.NOTHING and part == default):
            continue
        record[field.name] = part if field.write is None else field.write(part)
    return record


def read_object(form: Form, value: object) -> Any:  # noqa: ANN401 -- one of many classes
    """Return an instance of the form's class from a JSON object; raise :class:`WrongValueError`."""
    if not isinstance(value, dict):
        raise WrongValueError(f"must be an object, not {kind_of(value)}")
    unknown = value.keys() - form.names
    if unknown:
        raise WrongValueError(f"has no field {shown(min(unknown))}")
    values = {}
    for field in form.fields:
        if field.name in value:
            values[field.name] = _read_field(field, value[field.name])
        elif field.default is attrs.NOTHING:
            raise WrongValueError(f"lacks the field {field.name}")
    try:
        return form.cls(**values)
    except (TypeError, ValueError) as error:  # a validator of Limits; its first argument is the sentence
        raise WrongValueError(f"is not allowed: {error.args[0]}") from error


def _read_field(field: _Field, value: object) -> object:
    try:
        return field.read(value)
    except WrongValueError as wrong:
        raise WrongValueError(f"{field.name} {wrong}") from None
