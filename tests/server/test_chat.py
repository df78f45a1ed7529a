"""``/v1/chat/completions``: whole and streamed, every field that is honoured, and what is told about it."""

from __future__ import annotations

import json

import pytest

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds.",
            "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
        },
    }
]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


def chunks_of(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_the_models_are_told_with_their_length(live):
    (model,) = live.openai.models.list().data
    assert (model.id, model.max_model_len) == ("toy", 1_024)


def test_a_greedy_answer_is_the_same_each_time_and_streamed_it_is_the_same_text(live):
    whole = live.chat("one two three", max_tokens=12).json()
    again = live.chat("one two three", max_tokens=12).json()
    assert whole["choices"] == again["choices"]
    assert whole["choices"][0]["finish_reason"] == "length"
    chunks = chunks_of(live.chat("one two three", max_tokens=12, stream=True))
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert len([piece for piece in pieces if piece]) > 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 12
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_usage_comes_in_a_chunk_of_its_own_where_that_is_asked_for(live):
    chunks = chunks_of(live.chat("hi", stream=True, stream_options={"include_usage": True}))
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 4


def test_cached_tokens_are_those_that_were_held(live):
    asked = {"role": "user", "content": "a rather long question " * 8}
    first = live.chat(asked).json()
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    answer = first["choices"][0]["message"]
    second = live.chat(asked, answer, "and then?").json()
    prompt, output = first["usage"]["prompt_tokens"], first["usage"]["completion_tokens"]
    # The last token's KV was not computed, and the words of the answer may be cut into other tokens than they came in.
    assert prompt <= second["usage"]["prompt_tokens_details"]["cached_tokens"] <= prompt + output - 1


def test_several_answers_differ_by_their_seeds_and_share_the_prompt(live):
    asked = {"n": 3, "temperature": 1.0, "seed": 7, "max_tokens": 6}
    told = live.chat("spin the wheel " * 6, **asked).json()
    texts = [choice["message"]["content"] for choice in told["choices"]]
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert told["usage"]["completion_tokens"] == 18
    assert texts == [
        choice["message"]["content"] for choice in live.chat("spin the wheel " * 6, **asked).json()["choices"]
    ]


def test_a_stop_string_ends_an_answer_and_is_not_told(live):
    whole = live.chat("stop", max_tokens=20).json()["choices"][0]["message"]["content"]
    cut = live.chat("stop", max_tokens=20, stop=[whole[6:8]]).json()["choices"][0]
    assert cut["message"]["content"] == whole[: whole.index(whole[6:8])]
    assert cut["finish_reason"] == "stop"


def test_an_end_token_ends_an_answer_unless_it_is_to_be_ignored_or_too_early(live, says):
    says("ab", "ab", "ab")
    assert live.chat("x", max_tokens=9).json()["usage"]["completion_tokens"] == 2
    assert live.chat("x", max_tokens=9, ignore_eos=True).json()["usage"]["completion_tokens"] == 9
    assert live.chat("x", max_completion_tokens=1).json()["usage"]["completion_tokens"] == 1


def test_min_tokens_reaches_the_engine(live):
    refused = live.chat("x", min_tokens=9, max_tokens=8)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "min_tokens"
    assert live.chat("x", min_tokens=8, max_tokens=8).json()["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_told_for_each_token(live, stream):
    response = live.chat("x", logprobs=True, top_logprobs=2, stream=stream)
    if stream:
        chunks = chunks_of(response)
        told = [one for chunk in chunks for one in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
    else:
        told = response.json()["choices"][0]["logprobs"]["content"]
    assert len(told) == 4
    for one in told:
        assert one["logprob"] == one["top_logprobs"][0]["logprob"] <= 0
        assert bytes(one["bytes"]).decode() == one["token"] == one["top_logprobs"][0]["token"]
        assert len(one["top_logprobs"]) == 2


def test_content_in_parts_is_one_text_and_null_is_none(live):
    parts = {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}
    assert live.chat(parts).json()["choices"] == live.chat("one two").json()["choices"]
    empty = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None}, {"role": "user", "content": "r"}]
    blank = [{**message, "content": message["content"] or ""} for message in empty]
    assert live.chat(*empty).json()["choices"] == live.chat(*blank).json()["choices"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_told_as_one_and_its_text_is_not(live, says, stream):
    says(f"Let me see. {CALL}")
    response = live.chat("1 + 2?", tools=TOOLS, max_tokens=200, stream=stream)
    if stream:
        chunks = chunks_of(response)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        content = "".join(delta.get("content") or "" for delta in deltas)
        (call,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
        finish = chunks[-1]["choices"][0]["finish_reason"]
    else:
        choice = response.json()["choices"][0]
        content, (call,), finish = (
            choice["message"]["content"],
            choice["message"]["tool_calls"],
            choice["finish_reason"],
        )
    assert content.strip() == "Let me see."
    assert call["function"]["name"] == "add"
    assert json.loads(call["function"]["arguments"]) == {"a": 1, "b": 2}
    assert finish == "tool_calls"
    live.http.delete(f"/v1/sessions/{response.headers['x-astraea-session']}")


def test_a_job_lasts_over_its_tool_calls_and_is_measured_at_its_answer(live, says):
    says(CALL, "It is 3.")
    before = live.numbers()
    asked = {"role": "user", "content": "what is 1 + 2, please?"}
    called = live.chat(asked, tools=TOOLS, max_tokens=100).json()["choices"][0]["message"]
    (call,) = called["tool_calls"]
    between = live.numbers()
    assert between["astraea_jobs{}"] == before["astraea_jobs{}"] + 1
    result = {"role": "tool", "tool_call_id": call["id"], "content": "3"}
    told = live.chat(asked, called, result, tools=TOOLS, max_tokens=100).json()
    assert told["choices"][0]["message"]["content"] == "It is 3."
    assert told["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    after = live.numbers()
    assert after["astraea_jobs{}"] == before["astraea_jobs{}"]
    assert (
        after["astraea_job_completion_seconds_count{}"] == before.get("astraea_job_completion_seconds_count{}", 0) + 1
    )


def test_a_user_who_goes_on_without_the_tools_result_gives_the_job_up(live, says):
    says(CALL, "All right.")
    asked = {"role": "user", "content": "what is 2 + 2?"}
    before, jobs = live.numbers().get("astraea_jobs_abandoned_total{}", 0), live.numbers()["astraea_jobs{}"]
    called = live.chat(asked, tools=TOOLS, max_tokens=100).json()["choices"][0]["message"]
    live.chat(asked, called, "never mind", tools=TOOLS, max_tokens=100)
    numbers = live.numbers()
    assert numbers["astraea_jobs_abandoned_total{}"] == before + 1
    assert numbers["astraea_jobs{}"] == jobs


def test_parallel_turns_of_one_session_share_its_job_and_none_waits_for_the_other(live, says):
    says(CALL)
    jobs = live.numbers()["astraea_jobs{}"]
    parent = live.chat("delegate", tools=TOOLS, max_tokens=100, session_id="family")
    assert parent.headers["x-astraea-session"] == "family"
    child = live.chat("do your part", session_id="family")
    assert child.status_code == 200
    # The parent still waits for its tool, so its job lives on, and the child began none of its own.
    assert live.numbers()["astraea_jobs{}"] == jobs + 1
    assert live.http.delete("/v1/sessions/family").json()["deleted"]
    assert live.numbers()["astraea_jobs{}"] == jobs
    assert live.http.delete("/v1/sessions/family").status_code == 404


def test_the_turns_of_a_child_session_belong_to_its_parents_job(live, says):
    says(CALL)
    jobs = live.numbers()["astraea_jobs{}"]
    live.chat("delegate", tools=TOOLS, max_tokens=100, session_id="parent")
    child = live.chat("work", session_id="child", parent_session_id="parent")
    assert child.status_code == 200
    assert live.numbers()["astraea_jobs{}"] == jobs + 1
    for session in ("parent", "child"):
        live.http.delete(f"/v1/sessions/{session}")


def test_a_last_turn_closes_its_session(live):
    live.chat("bye", session_id="short", final=True)
    assert live.http.delete("/v1/sessions/short").status_code == 404


def test_hints_and_fields_without_effect_are_told_in_headers(live):
    told = live.chat("x", priority=500, expected_output_tokens=9_999, user="me", frobnicate=1)
    assert told.headers["x-astraea-hints"] == "priority=-100;clipped;unused, expected-output-tokens=4;clipped"
    assert told.headers["x-astraea-ignored"] == "frobnicate, user"


def test_the_id_of_a_request_is_echoed_or_made(live):
    assert live.chat("x", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert live.chat("x").headers["x-request-id"].startswith("req-")
