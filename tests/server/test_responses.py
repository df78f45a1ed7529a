"""``/v1/responses``: answers on their own and after one another, streamed, kept and forgotten."""

from __future__ import annotations

import json

import pytest
from openai import NotFoundError

from astraea.server.stored import Stored, StoredAnswers

TOOL = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
ASKED = {"model": "toy", "max_output_tokens": 6, "temperature": 0}


def test_an_answer_is_that_of_a_chat(live):
    told = live.openai.responses.create(input="one two", instructions="Say much.", **ASKED)
    system = {"role": "system", "content": "Say much."}
    chat = live.chat(system, "one two", max_tokens=6).json()
    assert told.output_text == chat["choices"][0]["message"]["content"]
    assert told.status == "incomplete"
    assert told.incomplete_details.reason == "max_output_tokens"
    assert told.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert told.usage.output_tokens == 6


def test_an_answer_goes_on_with_the_one_that_it_names_and_finds_its_cache(live):
    first = live.openai.responses.create(input="a long beginning " * 10, **ASKED)
    second = live.openai.responses.create(input="and then?", previous_response_id=first.id, **ASKED)
    assert second.usage.input_tokens > first.usage.input_tokens
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens
    history = [
        {"role": "user", "content": "a long beginning " * 10},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "and then?"},
    ]
    assert live.openai.responses.create(input=history, **ASKED).output_text == second.output_text
    # Two answers to the same one are two branches.
    other = live.openai.responses.create(input="or else?", previous_response_id=first.id, **ASKED)
    assert other.output_text != second.output_text


def test_a_stream_has_numbered_events_that_add_up_to_the_answer(live):
    events = list(live.openai.responses.create(input="one two", stream=True, **ASKED))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-1] == "response.incomplete"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    assert text == live.openai.responses.create(input="one two", **ASKED).output_text


@pytest.mark.parametrize("stream", [False, True])
def test_a_tools_call_and_its_output_are_items(live, says, stream):
    says(CALL, "Done.")
    asked = {**ASKED, "max_output_tokens": 90, "tools": [TOOL]}
    if stream:
        events = list(live.openai.responses.create(input="add", stream=True, **asked))
        first = events[-1].response
        assert "response.function_call_arguments.done" in [event.type for event in events]
    else:
        first = live.openai.responses.create(input="add", **asked)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})
    output = [{"type": "function_call_output", "call_id": call.call_id, "output": "2"}]
    second = live.openai.responses.create(input=output, previous_response_id=first.id, **asked)
    assert second.output_text == "Done."
    assert second.status == "completed"
    assert second.usage.input_tokens_details.cached_tokens > 0


def test_an_answer_is_kept_until_it_is_forgotten(live):
    told = live.openai.responses.create(input="keep", **ASKED)
    assert live.openai.responses.retrieve(told.id).output_text == told.output_text
    live.openai.responses.delete(told.id)
    for ask in (live.openai.responses.retrieve, live.openai.responses.delete):
        with pytest.raises(NotFoundError):
            ask(told.id)
    unkept = live.openai.responses.create(input="keep", store=False, **ASKED)
    with pytest.raises(NotFoundError):
        live.openai.responses.create(input="x", previous_response_id=unkept.id, **ASKED)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": []},
        {"input": [{"type": "message", "content": "x"}]},
        {"input": [{"type": "function_call", "name": "f"}]},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]},
        {"input": "x", "text": {"format": {"type": "json_schema"}}},
        {"input": "x", "background": True},
        {"input": "x", "tools": [{"type": "web_search"}]},
        {"input": "x", "tool_choice": "required"},
        {},
    ],
)
def test_what_cannot_be_had_is_refused(live, fields):
    assert live.http.post("/v1/responses", json={"max_output_tokens": 2, **fields}).status_code == 400


def _stored(at_s, words=10, tenant="ann"):
    return Stored(tenant, "s", [{"role": "user", "content": "x" * words}], {}, at_s)


def test_answers_are_kept_so_many_so_large_and_so_long_and_for_their_tenant():
    kept = StoredAnswers(answers_max=3, characters_max=20_000, age_max_s=100)
    for i in range(5):
        kept.put(f"a{i}", _stored(i))
    assert [kept.get("ann", f"a{i}", 5) is not None for i in range(5)] == [False, False, True, True, True]
    assert kept.get("bob", "a4", 5) is None
    assert kept.get("ann", "a4", 105) is None
    kept.put("large", _stored(6, words=19_000))
    assert len(kept) < 4
    kept.put("too large", _stored(7, words=30_000))
    assert len(kept) == 0
