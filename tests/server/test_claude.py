"""``/v1/messages``: Anthropic's form, whole and streamed, with tools."""

from __future__ import annotations

import json

import pytest

TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object", "properties": {}}}
CALL = 'Well. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def _ask(live, *messages, **fields):
    shown = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
    asked = {"model": "claude-any", "max_tokens": 6, "temperature": 0, "messages": shown, **fields}
    return live.http.post("/v1/messages", json=asked, headers={"anthropic-version": "2023-06-01"})


def _events(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block.startswith("event:")]
    events = [json.loads(block.split("\ndata: ", 1)[1]) for block in blocks]
    assert [block.split("\n", 1)[0] for block in blocks] == [f"event: {event['type']}" for event in events]
    return events


def test_an_answer_is_that_of_a_chat(live):
    system = [{"type": "text", "text": "Say much.", "cache_control": {"type": "ephemeral"}}]
    told = _ask(live, "one two", system=system).json()
    chat = live.chat({"role": "system", "content": "Say much."}, "one two", max_tokens=6).json()
    assert told["content"] == [{"type": "text", "text": chat["choices"][0]["message"]["content"]}]
    assert (told["stop_reason"], told["role"], told["model"]) == ("max_tokens", "assistant", "claude-any")
    usage = told["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == chat["usage"]["prompt_tokens"]
    assert usage["output_tokens"] == 6


def test_a_stream_adds_up_to_the_answer(live):
    events = _events(_ask(live, "one two", stream=True))
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert text == _ask(live, "one two").json()["content"][0]["text"]
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == 6


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_used_and_its_result_goes_on_with_the_same_cache(live, says, stream):
    says(CALL, "Done.")
    response = _ask(live, "add", tools=[TOOL], max_tokens=100, stream=stream)
    if stream:
        events = _events(response)
        starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        words, used = starts
        words["text"] = "".join(delta.get("text", "") for delta in deltas).strip()
        used["input"] = json.loads("".join(delta.get("partial_json", "") for delta in deltas))
        blocks, reason = [words, used], events[-2]["delta"]["stop_reason"]
    else:
        blocks, reason = response.json()["content"], response.json()["stop_reason"]
    assert reason == "tool_use"
    assert blocks[0] == {"type": "text", "text": "Well."}
    assert (blocks[1]["name"], blocks[1]["input"]) == ("add", {"a": 1})
    result = [{"type": "tool_result", "tool_use_id": blocks[1]["id"], "content": [{"type": "text", "text": "2"}]}]
    answer = {"role": "assistant", "content": blocks}
    told = _ask(live, "add", answer, {"role": "user", "content": result}, tools=[TOOL], max_tokens=100).json()
    assert told["content"] == [{"type": "text", "text": "Done."}]
    assert told["stop_reason"] == "end_turn"
    assert told["usage"]["cache_read_input_tokens"] > 0


def test_a_stop_sequence_is_named(live):
    whole = _ask(live, "x", max_tokens=20).json()["content"][0]["text"]
    told = _ask(live, "x", max_tokens=20, stop_sequences=["never", whole[4:6]]).json()
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", whole[4:6])


def test_the_largest_bound_that_a_client_knows_is_cut_to_what_there_is(live, says):
    says("ok")
    assert _ask(live, "x", max_tokens=64_000).json()["content"][0]["text"] == "ok"
    assert _ask(live, "x " * 3_000, max_tokens=64_000).status_code == 400


def test_tokens_are_counted(live):
    body = {"model": "m", "system": "s", "messages": [{"role": "user", "content": "hi"}], "tools": [TOOL]}
    counted = live.http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
    usage = _ask(live, "hi", system="s", tools=[TOOL]).json()["usage"]
    assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"]


def test_errors_are_of_the_same_form(live):
    for told in (_ask(live), _ask(live, "x", temperature=2), _ask(live, "x", tool_choice={"type": "any"})):
        assert told.status_code == 400
        assert told.json()["type"] == "error"
        assert set(told.json()["error"]) == {"type", "message"}
    image = {"role": "user", "content": [{"type": "image", "source": {}}]}
    assert _ask(live, image).status_code == 400


def test_a_session_of_claude_code_is_recognised_by_its_header(live):
    body = {"max_tokens": 2, "messages": [{"role": "user", "content": "x"}]}
    told = live.http.post("/v1/messages", json=body, headers={"X-Claude-Code-Session-Id": "cc-1"})
    assert told.headers["x-astraea-session"] == "cc-1"
    live.http.delete("/v1/sessions/cc-1")
