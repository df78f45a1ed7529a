"""What may come as a body: each bound from both sides, and everything else is refused in our own words."""

from __future__ import annotations

import json

import pytest

from astraea.server.reading import json_object
from astraea.server.refusals import ApiError

MESSAGES = [{"role": "user", "content": "x"}]
BIG = (1 << 63) - 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b'{"a": {"b": 1, "b": 2}}', "same key twice"),
        (b'{"a": NaN}', "not finite"),
        (b'{"a": -Infinity}', "not finite"),
        (b'{"a": 1e999}', "not finite"),
        (b'{"a": 9223372036854775808}', "64 bits"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "64 bits"),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", "32 deep"),
        (b'{"a": ' + b"[" * 100_000, "32 deep"),
        (b'{"a": "\\ud83d"}', "surrogate"),
        (b'{"\\ud83d": 1}', "surrogate"),
        (b'{"a": ["\\u0000"]}', "NUL"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_a_body_that_two_parsers_may_read_differently_is_refused(body, words):
    with pytest.raises(ApiError, match=words) as refused:
        json_object(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a": 9223372036854775807, "b": -9223372036854775807, "c": 1.5e300}',
        b'{"a": ' + b"[" * 31 + b"]" * 31 + b"}",
        '{"a": "\N{GRINNING FACE}\\ud83d\\ude00"}'.encode(),
    ],
)
def test_what_all_parsers_read_alike_is_read(body):
    assert json_object(body) == json.loads(body)


NUMBERS = [
    ("max_tokens", 1, [0, -1, BIG + 1, "1", 1.5, True]),
    ("max_completion_tokens", 1, [0, True]),
    ("n", 16, [0, -1, 17, "1", 1.5, True]),
    ("temperature", 2, [-0.1, 2.1, "1", True, BIG]),
    ("temperature", 0, []),
    ("top_p", 1, [0, 1.1]),
    ("top_k", -1, [-2, 0.5]),
    ("min_p", 1, [-0.1, 1.1]),
    ("repetition_penalty", 10, [0, 10.1]),
    ("presence_penalty", -2, [-2.1, 2.1]),
    ("frequency_penalty", 2, [-2.1, 2.1]),
    ("seed", -BIG, [0.5, "1", BIG + 1]),
    ("min_tokens", 0, [-1, "1"]),
    ("stop", ["a"] * 16, [["a"] * 17, [""], "", "a" * 257, 1, [1]]),
    ("stop", "a" * 256, []),
    ("stream", False, [1, "true"]),
    ("ignore_eos", False, [0]),
    ("model", "toy", [1, ["toy"]]),
    ("tools", [], [{}, [1], [{"type": "function"}], [{"type": "function", "function": {"name": "a b"}}]]),
    ("tool_choice", "none", ["required", {"type": "function", "function": {"name": "f"}}, 1]),
    (
        "messages",
        MESSAGES,
        [None, [], [1], [{}], [{"role": "robot", "content": "x"}], [{"role": "user", "content": 1}]],
    ),
    ("messages", MESSAGES, [[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]]),
]


@pytest.mark.parametrize(
    ("field", "right", "wrong"), NUMBERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_field_is_held_to_its_bounds_and_named_where_it_is_beyond_them(live, field, right, wrong):
    asked = {"messages": MESSAGES, "max_tokens": 1, field: right}
    assert live.http.post("/v1/chat/completions", json=asked).status_code == 200
    for value in wrong:
        told = live.http.post("/v1/chat/completions", json=asked | {field: value})
        assert told.status_code == 400, (field, value)
        error = told.json()["error"]
        if value != BIG + 1:  # which is refused as JSON already
            assert error["param"].split(".")[0] == field
        assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("logprobs", [{"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 21}, {"logprobs": 1}])
def test_log_probabilities_have_bounds(live, logprobs):
    assert live.chat("x", **logprobs).status_code == 400


def test_fields_that_would_change_the_answer_are_refused_by_name_unless_they_ask_for_what_is_so(live):
    for field in ("response_format", "logit_bias", "functions", "chat_template", "guided_regex"):
        told = live.chat("x", **{field: {"type": "json_object"}})
        assert told.status_code == 400
        assert told.json()["error"]["param"] == field
        assert field in told.json()["error"]["message"]
    assert live.chat("x", response_format={"type": "text"}, logit_bias={}).status_code == 200


def test_another_model_is_not_found(live):
    assert live.chat("x", model="gpt-9").status_code == 404


def test_a_prompt_beyond_the_context_is_refused_and_hurts_nobody(live):
    told = live.chat("word " * 3_000)
    assert told.status_code == 400
    assert told.json()["error"]["code"] == "context_length_exceeded"
    assert live.chat("x", max_tokens=1_025).json()["error"]["code"] == "context_length_exceeded"
    assert live.chat("x").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_of_another_type_is_refused(live, kind):
    told = live.http.post("/v1/chat/completions", content=b"{}", headers={"Content-Type": kind})
    assert told.status_code == 415


def test_unknown_routes_and_methods_are_told(live):
    assert live.http.get("/v1/nowhere").status_code == 404
    assert live.http.get("/v1/chat/completions").status_code == 405
    assert live.http.get("/v1/nowhere").json()["error"]["type"] == "not_found_error"


def test_a_client_is_never_shown_what_it_sent(live):
    hidden = "sk-very-secret"
    for body in (
        {"messages": MESSAGES, "temperature": hidden},
        {"messages": [{"role": hidden, "content": ""}]},
        {"messages": MESSAGES, "session_id": {hidden: 1}},
        {"messages": MESSAGES, "model": hidden},
    ):
        assert hidden not in live.http.post("/v1/chat/completions", json=body).text
