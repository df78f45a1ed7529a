"""Reads a request's body: bounded, not slower than a minimum, and JSON that means one thing only.

Two parsers may disagree about twice the same key, about NaN, about half a surrogate pair. What is not the same to all
of them is refused here, before anything looks at it.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from astraea.server.refusals import ApiError

__all__ = ["json_object", "read_body", "read_object"]

_DEPTH_MAX = 32
_DIGITS_MAX = 19
"""Of whole numbers: those of 64 bits."""
_INTEGER_MAX = (1 << 63) - 1
_JSON_TYPES = ("application/json", "text/json")


async def read_object(request: Request) -> dict[str, object]:
    """Return the JSON object that a request holds; raise :class:`ApiError` for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise ApiError(415, "the Content-Type must be application/json", code="unsupported_media_type")
    settings = request.app.state.service.settings
    body = await read_body(request, settings.max_body_bytes, settings.receive_timeout_s)
    return json_object(body)


async def read_body(request: Request, bytes_max: int, piece_timeout_s: float) -> bytes:
    """Return a body of up to ``bytes_max`` bytes, each piece of which comes in time."""
    too_large = ApiError(413, f"the body may have at most {bytes_max} bytes", code="body_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > bytes_max:
        raise too_large
    body = bytearray()
    pieces = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces, None), piece_timeout_s)
        except TimeoutError as error:
            raise ApiError(408, "the body came too slowly", code="timeout") from error
        except ClientDisconnect as error:
            raise ApiError(400, "the body was not sent to its end", code="incomplete_body") from error
        if piece is None:
            return bytes(body)
        body += piece
        if len(body) > bytes_max:
            raise too_large


def json_object(body: bytes) -> dict[str, object]:
    """Return the one JSON object that ``body`` is; raise :class:`ApiError` in our own words for anything else."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise _wrong("the body is not UTF-8") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise _wrong("the body is not JSON") from error
    if not isinstance(value, dict):
        raise _wrong("the body must be a JSON object")
    _check(value, "", 1)
    return value


def _wrong(sentence: str, param: str | None = None) -> ApiError:
    return ApiError(400, sentence, code="invalid_json", param=param)


def _too_deep() -> ApiError:
    return _wrong(f"objects and lists may stand in each other {_DEPTH_MAX} deep at most")


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _wrong("an object has the same key twice")
    return found


def _constant(_word: str) -> NoReturn:
    raise _wrong("a number is not finite")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS_MAX or abs(value := int(digits)) > _INTEGER_MAX:
        raise _wrong("a whole number has more than 64 bits")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _wrong("a number is not finite")
    return value


def _check(value: object, path: str, depth: int) -> None:
    """Raise for what is nested too deep, and for strings that are no text."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict | list):
        if depth > _DEPTH_MAX:
            raise _too_deep()
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            if isinstance(key, str):
                _check_text(key, path)
            # Of the path a client may see its own top-level name only: keys can be long and hostile.
            _check(entry, path or str(key), depth + 1)


def _check_text(text: str, path: str) -> None:
    param = path if path.isidentifier() and path.isascii() and len(path) <= 64 else None  # noqa: PLR2004 - as any name
    if "\0" in text:
        raise _wrong("a string holds the character NUL", param)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _wrong("a string holds half of a surrogate pair", param) from error
