"""Requests made for the tests: one value at one place, and any body and headers at all."""

from __future__ import annotations

from hypothesis import strategies as st

from astraea.server.fields import Body, Header


def nested(path, value):
    """``nested("a.b", 1)`` is ``{"a": {"b": 1}}``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def request_with(place, value):
    """The body and the headers that hold one value at one place."""
    return ({}, {place.name: value}) if isinstance(place, Header) else (nested(place.path, value), {})


def merged(first, second):
    """Both bodies in one."""
    both = dict(first)
    for key, value in second.items():
        both[key] = merged(both[key], value) if isinstance(both.get(key), dict) else value
    return both


ODD = ["s", "\ud800", "[" * 5000, '{"session_id": 1}', "close", "1h", "bulk", 10**400]


def bodies(places):
    """Any JSON object, with keys that often are those of ``places``."""
    words = sorted({key for place in places if isinstance(place, Body) for key in place.path.split(".")})
    keys = st.sampled_from(words) | st.text(max_size=5)
    leaves = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD)
    )  # fmt: skip
    return st.dictionaries(
        keys, st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
    )


def headers(places):
    """Any headers, with names that often are those of ``places``, in a case of their own."""
    names = sorted({place.name for place in places if isinstance(place, Header)})
    values = st.text(max_size=300) | st.integers().map(str)
    return st.dictionaries(st.sampled_from(names).map(str.title) | st.text(max_size=12), values)
