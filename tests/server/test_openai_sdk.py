"""The OpenAI SDK, as agents use it, drives the server without knowing that it is another one."""

from __future__ import annotations

import json

import openai
import pytest

TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def test_an_agent_works_through_its_tools_in_one_session_and_one_job(live, says):
    says(CALL, CALL, "It is 3.")
    before = live.numbers().get("astraea_job_turns_sum{}", 0)
    messages = [{"role": "user", "content": "Add, please, and then add again."}]
    sessions, cached = set(), []
    for _ in range(3):
        raw = live.openai.chat.completions.with_raw_response.create(
            model="toy", messages=messages, tools=[TOOL], max_tokens=120, extra_headers={"X-Request-Id": "agent"}
        )
        assert raw.headers["x-request-id"] == "agent"
        sessions.add(raw.headers["x-astraea-session"])
        told = raw.parse()
        cached.append(told.usage.prompt_tokens_details.cached_tokens)
        answer = told.choices[0].message
        messages.append(answer.model_dump(exclude_none=True))
        for call in answer.tool_calls or ():
            assert json.loads(call.function.arguments) == {"a": 1}
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "2"})
    assert answer.content == "It is 3."
    assert len(sessions) == 1, "nobody said which session it is, and still it is one"
    assert cached[0] < cached[1] < cached[2]
    assert live.numbers()["astraea_job_turns_sum{}"] == before + 3


def test_a_stream_is_read_to_its_usage(live):
    stream = live.openai.chat.completions.create(
        model="toy", messages=[{"role": "user", "content": "x"}], max_tokens=5, stream=True, temperature=0,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    assert chunks[-1].usage.completion_tokens == 5
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_stream_that_is_closed_early_is_cancelled(live):
    stream = live.openai.chat.completions.create(
        model="toy", messages=[{"role": "user", "content": "x"}], max_tokens=900, stream=True,
        extra_body={"ignore_eos": True},
    )  # fmt: skip
    next(iter(stream))
    stream.close()
    live.settled(2)


def test_text_completions_and_models_are_read(live):
    told = live.openai.completions.create(model="toy", prompt="x", max_tokens=3, n=2, temperature=1.0)
    assert [choice.index for choice in told.choices] == [0, 1]
    assert live.openai.models.list().data[0].id == "toy"


def test_errors_are_raised_as_the_sdks_own(live):
    with pytest.raises(openai.BadRequestError) as refused:
        live.openai.chat.completions.create(model="toy", messages=[{"role": "user", "content": "x"}], max_tokens=0)
    assert refused.value.param == "max_tokens"
    with pytest.raises(openai.NotFoundError):
        live.openai.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "x"}])
