"""Every convention for a session's identity, each alone and against the others."""

from __future__ import annotations

import pytest
from hypothesis import given

from astraea.server.fields import ID_CHARS_MAX, Body, FieldError, Header
from astraea.server.identity import CONVENTIONS, Identity, identify

from . import asking
from .asking import merged, nested, request_with


def field_of(place):
    return place.name if isinstance(place, Header) else place.path


def test_a_request_that_says_nothing_has_no_identity():
    assert identify({"model": "m", "messages": []}, {"accept": "*/*"}, tenant="acme") == Identity(
        tenant="acme", session_id=None, job_id=None, parent_id=None, final=False, affinity=None, source=""
    )


# What clients send, one row a client: body, headers, session, parent, source.
CLIENTS = [
    ({"session_id": "s"}, {}, "s", None, "session_id"),
    ({"session_id": 12}, {}, "12", None, "session_id"),
    ({"session_id": "s", "parent_session_id": "p"}, {}, "s", "p", "session_id"),
    ({"vllm_xargs": {"agentic_context": {"session_id": "s"}}}, {}, "s", None, "agentic_context"),
    ({"vllm_xargs": {"agentic_context": '{"session_id": "s"}'}}, {}, "s", None, "agentic_context"),
    (
        {"vllm_xargs": {"agentic_context": {"session_id": "s", "program_id": "b", "parent_program_id": "a"}}},
        {}, "b", "a", "agentic_context",
    ),
    ({"vllm_xargs": {"session_id": "s", "top_k": 3}}, {}, "s", None, "vllm_xargs"),
    ({"agent_hint": {"session_id": "s", "parent_session_id": "p"}}, {}, "s", "p", "agent_hint"),
    (
        {"nvext": {"agent_context": {"session_id": "s", "parent_session_id": "p", "session_final": False}}},
        {}, "s", "p", "agent_context",
    ),
    ({"nvext": {"agent_context": {"trajectory_id": "s"}}}, {}, "s", None, "trajectory"),
    ({"nvext": {"session_control": {"action": "open", "session_id": "s"}}}, {}, "s", None, "session_control"),
    ({"nvext": {"session_params": {"id": "s", "rid": "r"}}}, {}, "s", None, "nvext.session_params"),
    ({"program_id": "s", "docker_ids": ["d"]}, {}, "s", None, "program_id"),
    ({"extra_body": {"program_id": "s"}}, {}, "s", None, "program_id"),
    ({"job_id": "s", "this_func_call": "ls"}, {}, "s", None, "job_id"),
    ({"session_params": {"id": "s", "rid": None}}, {}, "s", None, "session_params"),
    ({"agent_hints": {"workflow_id": "s", "agent_id": "planner"}}, {}, "s", None, "agent_hints"),
    ({"kv_transfer_params": {"evoke": {"evoke_session": "s"}}}, {}, "s", None, "evoke"),
    ({}, {"X-Dynamo-Session-ID": "s", "X-Dynamo-Parent-Session-ID": "p"}, "s", "p", "dynamo"),
    ({}, {"X-Session-ID": "s"}, "s", None, "x-session-id"),
    ({}, {"x-session-id": "s", "x-parent-session-id": "p"}, "s", "p", "x-session-id"),
    ({}, {"X-Claude-Code-Session-Id": "s"}, "s", None, "claude-code"),
    ({}, {"X-Claude-Code-Session-Id": "s", "X-Claude-Code-Agent-Id": "a"}, "a", "s", "claude-code"),
    (
        {},
        {"x-claude-code-session-id": "s", "x-claude-code-agent-id": "b", "x-claude-code-parent-agent-id": "a"},
        "b", "a", "claude-code",
    ),
    ({}, {"thread-id": "s", "session-id": "old"}, "s", None, "codex"),
    ({}, {"session-id": "s", "x-codex-parent-thread-id": "p"}, "s", "p", "codex"),
    ({}, {"session_id": "s"}, "s", None, "codex"),
    ({}, {"x-session-affinity": "s"}, "s", None, "opencode"),
    ({}, {"x-opencode-session": "s"}, "s", None, "opencode"),
    ({}, {"X-DeepSeek-Harness-Session-Id": "s"}, "s", None, "deepseek"),
    ({}, {"x-grok-conv-id": "s"}, "s", None, "grok"),
    ({}, {"X-Correlation-ID": "s"}, "s", None, "x-correlation-id"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "session_id", "parent_id", "source"), CLIENTS)
def test_what_a_client_sends_is_understood(body, headers, session_id, parent_id, source):
    found = identify(body, headers)
    assert (found.session_id, found.parent_id, found.source) == (session_id, parent_id, source)
    assert not found.final


def test_every_convention_has_a_client_in_the_table():
    assert {source for *_, source in CLIENTS} == {convention.name for convention in CONVENTIONS}


def test_the_conventions_and_their_order_are_these():
    assert [convention.name for convention in CONVENTIONS] == [
        "session_id", "agentic_context", "vllm_xargs", "agent_hint", "agent_context", "trajectory", "session_control",
        "nvext.session_params", "program_id", "job_id", "session_params", "agent_hints", "evoke", "dynamo",
        "x-session-id", "claude-code", "codex", "opencode", "deepseek", "grok", "x-correlation-id",
    ]  # fmt: skip


EXCLUSIVE = {"session_id", "session_params"}
PAIRS = [
    (first, second)
    for index, first in enumerate(CONVENTIONS)
    for second in CONVENTIONS[index + 1 :]
    if {first.name, second.name} != EXCLUSIVE
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda convention: convention.name)
def test_the_earlier_of_two_conventions_wins(first, second):
    places = (request_with(first.session[0], "first"), request_with(second.session[0], "second"))
    bodies, headers = zip(*places, strict=True)
    found = identify(merged(*bodies), headers[1] | headers[0])
    assert (found.session_id, found.source) == ("first", first.name)


def test_a_session_cannot_be_named_in_both_of_two_ways_that_exclude_each_other():
    with pytest.raises(FieldError, match="session_id") as refused:
        identify({"session_id": "s", "session_params": {"id": "s"}}, {})
    assert refused.value.field == "session_params"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"session_id": "s", "final": True}, {}),
        ({"nvext": {"agent_context": {"session_id": "s", "session_final": True}}}, {}),
        ({"nvext": {"agent_context": {"trajectory_id": "s", "trajectory_final": True}}}, {}),
        ({"nvext": {"session_control": {"session_id": "s", "action": "close"}}}, {}),
        ({"job_id": "s", "is_last_step": True}, {}),
        ({}, {"x-dynamo-session-id": "s", "X-Dynamo-Session-Final": "True"}),
        ({}, {"x-session-id": "s", "x-dynamo-session-final": "1"}),
    ],
)
def test_each_way_to_end_a_session_is_understood(body, headers):
    assert identify(body, headers).final


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"final": False, "is_last_step": True}, {}),  # the earlier convention counts
        ({"nvext": {"session_control": {"action": "bind"}}}, {}),
        ({"final": None}, {"x-dynamo-session-final": "false"}),
        ({}, {"x-dynamo-session-final": "0"}),
    ],
)
def test_what_does_not_end_a_session_does_not(body, headers):
    assert not identify(body, headers).final


def test_a_job_inside_a_session_keeps_both_names():
    found = identify({"session_id": "s", "job_id": "j"}, {})
    assert (found.session_id, found.job_id, found.source) == ("s", "j", "session_id")
    assert identify({"job_id": "j"}, {}).job_id == "j"
    assert identify({"vllm_xargs": {"agentic_context": {"session_id": "s", "task_id": "t"}}}, {}).job_id == "t"


def test_no_session_is_its_own_parent():
    assert identify({"session_id": "s", "parent_session_id": "s"}, {}).parent_id is None


def test_a_cache_key_is_an_affinity_and_no_session():
    found = identify({"prompt_cache_key": "k"}, {})
    assert (found.affinity, found.session_id, found.source) == ("k", None, "")


def test_null_is_as_good_as_absent():
    assert identify({"session_id": None, "nvext": None, "agent_hint": {"session_id": None}}, {}).session_id is None


def test_a_header_under_two_spellings_must_say_one_thing():
    assert identify({}, {"X-Session-ID": "s", "x-session-id": "s"}).session_id == "s"
    with pytest.raises(FieldError, match="x-session-id is given more than once"):
        identify({}, {"X-Session-ID": "s", "x-session-id": "t"})


PLACES = [
    place
    for convention in CONVENTIONS
    for place in (*convention.session, convention.child, convention.parent, convention.job)
    if place is not None
] + [Body("prompt_cache_key")]
FLAGS = [c.final for c in CONVENTIONS if c.final is not None and c.final_word is None]
BAD_TEXT = ["", "   ", "a\nb", "a\x00", "\x1b[31mred", "\ud83d", "\u202eevil", "x" * (ID_CHARS_MAX + 1)]
BAD_JSON = [True, 1.5, float("nan"), 1 << 63, -(1 << 63), 10**5000, [], ["s"], {}, {"a": 1}]


@pytest.mark.parametrize("place", PLACES, ids=field_of)
def test_a_malformed_id_is_refused_by_the_name_of_its_field(place):
    for value in BAD_TEXT + (BAD_JSON if isinstance(place, Body) else []):
        with pytest.raises(FieldError, match="must be") as refused:
            identify(*request_with(place, value))
        assert refused.value.field == field_of(place)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("place", PLACES, ids=field_of)
def test_the_longest_id_is_taken_whole(place):
    longest = "é" * ID_CHARS_MAX
    found = identify(*request_with(place, longest))
    assert longest in {found.session_id, found.parent_id, found.job_id, found.affinity}


@pytest.mark.parametrize("place", FLAGS, ids=field_of)
def test_a_malformed_flag_is_refused_by_the_name_of_its_field(place):
    for value in ["yes", "", "2"] + ([0, 1, "true", []] if isinstance(place, Body) else []):
        with pytest.raises(FieldError, match="must be true or false") as refused:
            identify(*request_with(place, value))
        assert refused.value.field == field_of(place)


@pytest.mark.parametrize("path", sorted({p.path.rpartition(".")[0] for p in PLACES if "." in getattr(p, "path", "")}))
def test_what_should_hold_an_id_must_be_an_object(path):
    for value in ["text", 3, [], "[1]", "[" * 10_000, '{"session_id": "s"' + " " * 20_000 + "}", False]:
        with pytest.raises(FieldError, match="must be an object") as refused:
            identify(nested(path, value), {})
        assert refused.value.field == path


EVERYWHERE = [*PLACES, *FLAGS, Body("nvext.session_control.action")]


@given(body=asking.bodies(EVERYWHERE), headers=asking.headers(EVERYWHERE))
def test_no_body_and_no_headers_raise_anything_but_a_refusal(body, headers):
    try:
        found = identify(body, headers)
    except FieldError as refused:
        assert str(refused).startswith(refused.field)  # noqa: PT017 - it may or may not be raised
        return
    for value in (found.session_id, found.job_id, found.parent_id, found.affinity):
        assert value is None or (0 < len(value) <= ID_CHARS_MAX and value.isprintable())
    assert (found.source == "") == (found.session_id is None)


@given(headers=asking.headers(EVERYWHERE))
def test_the_case_of_a_header_does_not_matter(headers):
    def outcome(named):
        try:
            return identify({}, named)
        except FieldError as refused:
            return str(refused)

    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) == len(headers):
        assert outcome(headers) == outcome(lowered)
