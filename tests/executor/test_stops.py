"""Text is told once it is certain, and never beyond a stop string, however the tokens cut it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraea.executor.stops import TextStream
from astraea.executor.toy import toy_tokenizer

TOKENIZER = toy_tokenizer()
LETTERS = "ab\né€𝄞 "


def _spelling():
    """How the byte-level alphabet names each byte."""
    named = {byte: chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))}
    rest = [byte for byte in range(256) if byte not in named]
    return named | {byte: chr(256 + i) for i, byte in enumerate(rest)}


SPELLING = _spelling()


def _ids(text, *, bytewise=False):
    if bytewise:
        return [TOKENIZER.convert_tokens_to_ids(SPELLING[byte]) for byte in text.encode()]
    return TOKENIZER.encode(text, add_special_tokens=False)


def _stream(text, stops=(), *, bytewise=False):
    """Push all tokens; return the pieces that were told and whether a stop string ended it."""
    stream, told = TextStream(TOKENIZER, stops), []
    for token in _ids(text, bytewise=bytewise):
        told.append(stream.push(token))
        if stream.has_stopped():
            break
    told.append(stream.finish())
    assert "".join(told) == stream.text
    return told, stream


@given(text=st.text(LETTERS, max_size=12), bytewise=st.booleans())
def test_without_a_stop_string_all_of_the_text_is_told_once(text, bytewise):
    told, stream = _stream(text, bytewise=bytewise)
    assert "".join(told) == text
    assert not stream.has_stopped()


@given(text=st.text("ab€", max_size=14), stops=st.lists(st.text("ab€", max_size=3), max_size=3), bytewise=st.booleans())
def test_the_text_ends_before_the_stop_string_that_comes_first(text, stops, bytewise):
    told, stream = _stream(text, tuple(stops), bytewise=bytewise)
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    assert stream.has_stopped() == bool(ends)
    if not bytewise:
        # One token may complete two stop strings; then the text ends before the first.
        assert "".join(told) == (text[: min(ends)] if ends else text)
    elif not ends:
        assert "".join(told) == text
    assert not any(stop in "".join(told) for stop in stops if stop)


def test_a_letter_of_many_tokens_is_told_with_the_last_of_them():
    told, _ = _stream("a€b", bytewise=True)
    assert told == ["a", "", "", "€", "b", ""]


def test_what_may_be_the_beginning_of_a_stop_string_is_held_back_until_it_is_not_one():
    told, stream = _stream("abac", ("abab",), bytewise=True)
    assert told == ["", "", "", "abac", ""]
    assert not stream.has_stopped()


def test_what_is_held_back_at_the_end_is_told_then():
    told, _ = _stream("xab", ("abc",), bytewise=True)
    assert told == ["x", "", "", "ab"]


def test_after_a_stop_string_nothing_is_told():
    told, stream = _stream("xyzw", ("y",), bytewise=True)
    assert (told, stream.has_stopped()) == (["x", "", ""], True)
    assert stream.finish() == ""


@pytest.mark.parametrize("stops", [(), ("",), ("", "zz")])
def test_an_empty_stop_string_stops_nothing(stops):
    assert "".join(_stream("abc", stops)[0]) == "abc"
