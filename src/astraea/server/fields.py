"""Reads single values out of a request: where they stand, what they may be, and the refusal that names them.

A place is a path into the JSON body or the name of a header. What is absent or null is ``None``; what is there and
malformed is a :class:`FieldError`. Values are never echoed: they are the client's, and may be long or hostile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TypeAlias

from attrs import frozen

from astraea.errors import AstraeaError

__all__ = [
    "ID_CHARS_MAX",
    "Body",
    "FieldError",
    "Header",
    "Place",
    "Request",
    "field_name",
    "identifier",
    "truth",
    "whole_number",
]

ID_CHARS_MAX = 256
"""Longest id: four UUIDs with words between them; they are kept in memory and drawn on a page."""
_JSON_TEXT_CHARS_MAX = 16_384
"""Longest JSON object written as a string."""
_INTEGER_MAX = (1 << 63) - 1
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class FieldError(AstraeaError):
    """Is raised for a value of a request that is not what its field may hold; its text is one sentence for the client.

    ``field`` is the path in the body, with dots, or the header's name in lower case.
    """

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field = field


@frozen(slots=True)
class Body:
    """A place in the body: keys with dots between."""

    path: str


@frozen(slots=True)
class Header:
    """A header, in lower case."""

    name: str


Place: TypeAlias = Body | Header


class Request:
    """A body and its headers as places are looked up in them; header names in any case."""

    def __init__(self, body: Mapping[str, object], headers: Mapping[str, str]) -> None:
        self._body = body
        self._headers: dict[str, list[str]] = {}
        for name, value in headers.items():
            self._headers.setdefault(name.lower(), []).append(value)

    def given(self, place: Place) -> object:
        """Return the value at a place, ``None`` where there is none.

        Raises :class:`FieldError` where the way to it is no object, or a header is given twice and differs.
        """
        if isinstance(place, Header):
            values = self._headers.get(place.name, [])
            if len(set(values)) > 1:
                raise FieldError(place.name, "is given more than once")
            return values[0] if values else None
        value: object = self._body
        walked: list[str] = []
        for key in place.path.split("."):
            value = _object(value, ".".join(walked)).get(key)
            if value is None:
                return None
            walked.append(key)
        return value


def _object(value: object, path: str) -> Mapping[str, object]:
    """Return an object on the way to a value; one that is written as JSON text is read."""
    if isinstance(value, str) and len(value) <= _JSON_TEXT_CHARS_MAX:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping):
        raise FieldError(path, "must be an object")
    return value


def field_name(place: Place) -> str:
    """Return what a refusal calls a place."""
    return place.name if isinstance(place, Header) else place.path


def identifier(request: Request, place: Place) -> str | None:
    """Return an id: 1 to 256 printable characters, or a whole number of 64 bits, which stands for its digits."""
    value = request.given(place)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INTEGER_MAX:
        return str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > ID_CHARS_MAX or not value.isprintable():
        raise FieldError(field_name(place), f"must be 1 to {ID_CHARS_MAX} printable characters")
    return value


def truth(request: Request, place: Place) -> bool | None:
    """Return true or false; a header writes them as words or as 1 and 0."""
    value = request.given(place)
    if isinstance(place, Header) and isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower(), value)
    if value is not None and not isinstance(value, bool):
        raise FieldError(field_name(place), "must be true or false")
    return value


def whole_number(request: Request, place: Place, *, unit: int = 1) -> int | None:
    """Return a number times ``unit``, rounded, and no larger than 64 bits either way; a header writes its digits."""
    value = request.given(place)
    if value is None:
        return None
    if isinstance(place, Header) and isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and -_INTEGER_MAX < value * unit < _INTEGER_MAX:  # neither infinite nor no number
        return round(value * unit)
    if not isinstance(value, int) or isinstance(value, bool):
        raise FieldError(field_name(place), "must be a number")
    return max(-_INTEGER_MAX, min(_INTEGER_MAX, value * unit))
