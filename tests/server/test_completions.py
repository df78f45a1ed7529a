"""``/v1/completions`` and ``/tokenize``."""

from __future__ import annotations

import json


def _completed(live, **fields):
    return live.http.post("/v1/completions", json={"max_tokens": 4, "temperature": 0, **fields})


def test_a_text_goes_on_whole_streamed_and_from_tokens(live):
    whole = _completed(live, prompt="one two").json()
    text = whole["choices"][0]["text"]
    assert whole["object"] == "text_completion"
    assert whole["usage"]["completion_tokens"] == 4
    tokens = live.http.post("/tokenize", json={"prompt": "one two"}).json()["tokens"]
    assert _completed(live, prompt=tokens).json()["choices"][0]["text"] == text
    assert _completed(live, prompt="one two", echo=True).json()["choices"][0]["text"] == f"one two{text}"
    lines = _completed(live, prompt="one two", stream=True, echo=True).text.split("\n")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == f"one two{text}"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["total_tokens"] == len(tokens) + 4


def test_sixteen_tokens_are_produced_where_nobody_says_how_many(live):
    told = live.http.post("/v1/completions", json={"prompt": "x", "ignore_eos": True}).json()
    assert told["usage"]["completion_tokens"] == 16


def test_log_probabilities_are_those_of_the_tokens(live):
    told = _completed(live, prompt="x", logprobs=3).json()["choices"][0]
    logprobs = told["logprobs"]
    assert "".join(logprobs["tokens"]) == told["text"]
    for token, logprob, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert len(top) == 3
        assert top[token] == logprob == max(top.values())


def test_a_session_whose_text_grows_keeps_its_cache(live):
    first = _completed(live, prompt="a text that grows and grows ", session_id="growing").json()
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    more = "a text that grows and grows " + first["choices"][0]["text"] + " still"
    second = _completed(live, prompt=more, session_id="growing").json()
    # Where two texts meet, their letters may be cut into other tokens than before.
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 3
    live.http.delete("/v1/sessions/growing")


def test_tokens_that_the_model_does_not_have_are_refused(live):
    for prompt in ([0, 2_048], [-1], [], "", [1.5], ["a"], [[1, 2]], 7):
        assert _completed(live, prompt=prompt).status_code == 400, prompt
    live.settled()


def test_messages_are_tokenized_as_they_are_asked(live):
    messages = [{"role": "user", "content": "hi"}]
    told = live.http.post("/tokenize", json={"messages": messages, "return_token_strs": True}).json()
    assert told["count"] == len(told["tokens"]) == len(told["token_strs"])
    assert told["max_model_len"] == 1_024
    assert told["count"] == live.chat("hi").json()["usage"]["prompt_tokens"]
    for body in ({}, {"prompt": "x", "messages": messages}):
        assert live.http.post("/tokenize", json=body).status_code == 400
