"""Tool calls in text: both forms, what is none, and that a stream tells the same words as the whole."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from astraea.server.rendering import with_tools_in_text
from astraea.server.tool_calls import ToolText, find_calls

TOOLS = {"add", "sub"}
ADD = '{"name": "add", "arguments": {"a": 1}}'
SUB = '{"name": "sub", "parameters": {}}'


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("hello", "hello", []),
        (f"<tool_call>{ADD}</tool_call>", "", ["add"]),
        (f"<tool_call>\n{ADD}\n</tool_call>\n<tool_call>{SUB}</tool_call>", "", ["add", "sub"]),
        (f"<tool_call>[{ADD}, {SUB}]</tool_call>", "", ["add", "sub"]),
        (f"So: <tool_call>{ADD}</tool_call> and on", "So:  and on", ["add"]),
        (f"<tool_call>{ADD}", "", ["add"]),
        (f"<tool_call>no</tool_call><tool_call>{ADD}</tool_call>", "<tool_call>no</tool_call>", ["add"]),
        (ADD, "", ["add"]),
        (f" {SUB}; {ADD} ", "", ["sub", "add"]),
        (f"<|python_tag|>{SUB}", "", ["sub"]),
        ('{"name": "add", "arguments": "{\\"a\\": 1}"}', "", ["add"]),
        # No calls.
        ('{"name": "rm", "arguments": {}}', '{"name": "rm", "arguments": {}}', []),
        (f"{ADD} and words", f"{ADD} and words", []),
        (f"<tool_call>[{ADD}, 1]</tool_call>", f"<tool_call>[{ADD}, 1]</tool_call>", []),
        ('<tool_call>{"name": ["add"]}</tool_call>', '<tool_call>{"name": ["add"]}</tool_call>', []),
        ('<tool_call>{"name": "add", "arguments": 1}', '<tool_call>{"name": "add", "arguments": 1}', []),
        ("<tool_call>" + "[" * 5_000, "<tool_call>" + "[" * 5_000, []),
        ('{"name": "add"', '{"name": "add"', []),
    ],
)
def test_calls_are_found_where_they_are(text, content, calls):
    said = find_calls(text, TOOLS)
    assert said.content == content
    assert [call.name for call in said.calls] == calls
    assert all(isinstance(json.loads(call.arguments), dict) for call in said.calls)
    assert len({call.call_id for call in said.calls}) == len(calls)


def test_without_tools_nothing_is_a_call():
    assert find_calls(f"<tool_call>{ADD}</tool_call>", ()).calls == ()


def test_hostile_text_takes_no_long_time():
    began_s = time.monotonic()
    for text in ("<tool_call>" * 20_000, "{" * 100_000, f"{ADD};" * 3_000, "<tool_call>" + '{"a":' * 50_000):
        find_calls(text, TOOLS)
    assert time.monotonic() - began_s < 3


PIECES = ["<tool_call>", "</tool_call>", "<tool", "_call>", ADD, SUB, "{", "<|python_tag|>", "words", " ", "\n", ";"]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.integers(1, 9))
@example(["<tool"], 1)
@example([" ", "words", " ", "<tool_call>", ADD, "</tool_call>", " "], 2)
def test_what_is_told_piece_by_piece_is_what_was_said(parts, size):
    text = "".join(parts)
    said, stream = find_calls(text, TOOLS), ToolText(may_call=True)
    told = "".join(stream.push(text[at : at + size]) for at in range(0, len(text), size))
    assert "<tool_call>" not in told
    told += stream.finish(said)
    assert told.strip() == said.content.strip()
    if not said.calls:
        assert told == text


def test_a_template_without_tools_is_given_them_as_text():
    messages = [
        {"role": "system", "content": "Be good."},
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "content": "2", "tool_call_id": "x"},
    ]
    shown = with_tools_in_text(messages, [{"type": "function", "function": {"name": "add"}}])
    assert [message["role"] for message in shown] == ["system", "user", "assistant", "user"]
    assert shown[0]["content"].startswith("Be good.\n\n")
    assert '"name": "add"' in shown[0]["content"]
    assert find_calls(shown[2]["content"], TOOLS).calls[0].arguments == '{"a": 1}'
    assert "2" in shown[3]["content"]
    assert with_tools_in_text(messages[1:2], []) == messages[1:2]
