"""A request that names the tool that its answer calls."""

from __future__ import annotations

import json

import pytest

from astraea.server.tool_calls import Said, call_begun, the_call

TOOL = {"type": "function", "function": {"name": "add", "description": "adds"}}
OTHER = {"type": "function", "function": {"name": "sub"}}
ADD = {"type": "function", "function": {"name": "add"}}


def streamed(response):
    """The deltas and the finish reason of a stream."""
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [choice["delta"] for choice in choices], choices[-1]["finish_reason"]


@pytest.mark.parametrize("choice", [ADD, "required"])
def test_what_the_model_says_is_the_arguments_of_the_call(live, says, choice):
    says('{"a": 1, "b": [2]}}\n</tool_call>')
    (answer,) = live.chat("1 + 2?", tools=[TOOL], tool_choice=choice, max_tokens=64, final=True).json()["choices"]
    (call,) = answer["message"]["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"a": 1, "b": [2]}'}
    assert (answer["message"]["content"], answer["finish_reason"]) == (None, "tool_calls")


def test_a_stream_tells_the_call_and_no_text(live, says):
    says('{"a": 1}}\n</tool_call>')
    deltas, finish = streamed(
        live.chat("1?", tools=[TOOL, OTHER], tool_choice=ADD, max_tokens=64, stream=True, final=True)
    )
    (call,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert not any(delta.get("content") for delta in deltas)
    assert finish == "tool_calls"


def test_noise_makes_a_call_too_and_its_job_goes_on_until_an_answer(live):
    before = live.numbers()["astraea_jobs{}"]
    fields = {"tools": [TOOL], "session_id": "noise", "max_tokens": 8, "ignore_eos": True}
    first = live.chat("go", tool_choice=ADD, **fields).json()
    (answer,) = first["choices"]
    (call,) = answer["message"]["tool_calls"]
    assert answer["finish_reason"] == "tool_calls"
    assert live.numbers()["astraea_jobs{}"] == before + 1
    result = {"role": "tool", "tool_call_id": call["id"], "content": "3"}
    second = live.chat("go", answer["message"], result, **fields).json()
    assert second["choices"][0]["finish_reason"] == "length"
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 16
    assert live.numbers()["astraea_jobs{}"] == before
    live.http.delete("/v1/sessions/noise")


def test_the_prompt_begins_the_call(live):
    begun = live.http.post("/tokenize", json={"prompt": call_begun("add", is_tagged=True)}).json()["count"]
    free, held = (
        live.chat("1?", tools=[TOOL], **said, max_tokens=1, final=True).json()["usage"]["prompt_tokens"]
        for said in ({}, {"tool_choice": ADD})
    )
    assert 0 < held - free <= begun


@pytest.mark.parametrize(
    "choice", ["required", "any", {"type": "function", "function": {"name": "mul"}}, {"type": "x"}]
)
def test_a_choice_that_cannot_be_kept_is_refused_by_name(live, choice):
    refused = live.chat("1?", tools=[TOOL, OTHER], tool_choice=choice)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "tool_choice"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a": 1}}\n</tool_call>', '{"a": 1}'),
        ('\n {"a": "ü"}', '{"a": "ü"}'),
        ("noise </tool_call> more", "noise"),
        ("[1, 2]}", "[1, 2]}"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
        ('{"a": 1', '{"a": 1'),
    ],
)
def test_whatever_was_said_is_one_call(text, arguments):
    said = the_call("add", text)
    (call,) = said.calls
    assert (said.content, call.name, call.arguments) == ("", "add", arguments)
    assert isinstance(said, Said)


def test_a_call_begins_as_each_kind_of_model_writes_it():
    assert call_begun("add", is_tagged=True) == '<tool_call>\n{"name": "add", "arguments": '
    assert call_begun("add", is_tagged=False) == '{"name": "add", "parameters": '


@pytest.mark.parametrize("choice", [ADD, "auto"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_says_can_be_sent_back_even_where_it_says_nul(live, says, choice, stream):
    says("a\0b")
    response = live.chat("1?", tools=[TOOL], tool_choice=choice, max_tokens=64, stream=stream, final=True)
    if stream:
        deltas, _ = streamed(response)
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        content = "".join(delta.get("content") or "" for delta in deltas)
    else:
        (answer,) = response.json()["choices"]
        calls, content = answer["message"].get("tool_calls", ()), answer["message"]["content"]
    assert "a\ufffdb" in (calls[0]["function"]["arguments"] if choice == ADD else content)


def test_the_responses_api_has_it_too(live):
    tool = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
    asked = {"model": "toy", "input": "1?", "max_output_tokens": 4, "tools": [tool], "extra_body": {"final": True}}
    for choice in ({"type": "function", "name": "add"}, "required"):
        told = live.openai.responses.create(tool_choice=choice, **asked)
        (item,) = told.output
        assert (item.type, item.name) == ("function_call", "add")
    other = {"input": "1?", "tools": [tool], "tool_choice": {"type": "function", "name": "mul"}}
    refused = live.http.post("/v1/responses", json=other)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_choice")
