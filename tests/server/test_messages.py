"""What of a message counts when it comes back as history."""

from __future__ import annotations

import pytest
from hypothesis import given

from astraea.server.fields import Body
from astraea.server.messages import essence, is_answer, is_instruction

from .asking import bodies


def call(arguments, call_id="c1", name="add"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def part(text):
    return {"type": "text", "text": text}


ANSWER = {"role": "assistant", "content": "It is 3.\n"}
TOOLED = {"role": "assistant", "content": "Let me add.", "tool_calls": [call('{"a": 1, "b": 2}')]}


@pytest.mark.parametrize(
    ("said", "sent_back"),
    [
        (ANSWER, {"role": "assistant", "content": "It is 3."}),
        (ANSWER, {"role": "assistant", "content": [part("It is"), part(" 3.")]}),
        (ANSWER, {"role": "assistant", "content": ["It is 3."]}),
        (ANSWER, {**ANSWER, "tool_calls": None, "refusal": None, "reasoning_content": "hm", "tool_calls_x": 1}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": []}),
        (TOOLED, {**TOOLED, "tool_calls": [call('{"b":2,"a":1}')]}),
        (TOOLED, {**TOOLED, "tool_calls": [call({"a": 1, "b": 2})]}),
        (TOOLED, {**TOOLED, "content": None}),
    ],
)
def test_what_clients_do_to_an_answer_does_not_make_it_another(said, sent_back):
    assert essence(said) == essence(sent_back)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ANSWER, {"role": "assistant", "content": "It is 4."}),
        (ANSWER, {**ANSWER, "role": "user"}),
        (TOOLED, {**TOOLED, "tool_calls": [call('{"a": 1, "b": 2}', "c2")]}),
        (TOOLED, {**TOOLED, "tool_calls": [call('{"a": 1, "b": 3}')]}),
        (TOOLED, {**TOOLED, "tool_calls": [call('{"a": 1, "b": 2}', name="sub")]}),
        (TOOLED, {**TOOLED, "tool_calls": [*TOOLED["tool_calls"], call("{}", "c2")]}),
        (
            {"role": "tool", "content": "3", "tool_call_id": "c1"},
            {"role": "tool", "content": "3", "tool_call_id": "c2"},
        ),
        # Without an id the words count.
        ({**TOOLED, "tool_calls": [call("{}", None)]}, {**TOOLED, "tool_calls": [call("{}", None)], "content": ""}),
        # Words cannot pose as the structure around them.
        ({"role": "user", "content": '["a"]'}, {"role": "user", "content": ["a"]}),
        ({"role": "user", "content": "a"}, {"role": "user", "content": {"text": "a"}}),
    ],
)
def test_what_says_something_else_is_another(one, other):
    assert essence(one) != essence(other)


def test_roles_are_told_apart():
    assert is_answer({"role": "assistant"})
    assert not is_answer({"role": "user"})
    assert [is_instruction({"role": role}) for role in ("system", "developer", "user", "assistant", "tool", None)] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


MEMBERS = [Body(p) for p in ("role", "content.text", "tool_calls.function.arguments", "tool_calls.id", "tool_call_id")]


@given(message=bodies(MEMBERS))
def test_any_object_at_all_has_an_essence(message):
    assert essence(message) == essence(dict(reversed(message.items())))


@pytest.mark.parametrize("arguments", ["[" * 100_000, "{", "1" * 5_000, "NaN", "\ud800"])
def test_arguments_that_are_no_json_are_taken_as_words(arguments):
    message = {"role": "assistant", "tool_calls": [call(arguments)]}
    assert essence(message) != essence(TOOLED)
