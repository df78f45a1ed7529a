"""Hints in every dialect, brought to one unit, clipped, and told back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraea import Limits, Scheduler
from astraea.decisions import RunBatch
from astraea.events import Hints, TurnArrived
from astraea.server.fields import Body, FieldError, field_name
from astraea.server.hints import SOURCES, Hint, read_hints

from . import asking
from .asking import merged, request_with

HOUR_US = 3_600_000_000


def read(body, headers=None, output_tokens_max=4_096):
    return read_hints(body, headers or {}, output_tokens_max=output_tokens_max)


# What a client writes, which hint that is, and its value in our unit.
DIALECTS = [
    ({}, {"X-Dynamo-Request-Priority": "5"}, Hint.PRIORITY, 5),
    ({}, {"x-dynamo-request-priority": " -7 "}, Hint.PRIORITY, -7),
    ({"nvext": {"agent_hints": {"priority": 5}}}, {}, Hint.PRIORITY, 5),
    ({"priority": 5}, {}, Hint.PRIORITY, -5),
    ({"priority": -5}, {}, Hint.PRIORITY, 5),
    ({}, {"X-SMG-Priority": "Interactive"}, Hint.PRIORITY, 50),
    ({}, {"x-smg-priority": "bulk"}, Hint.PRIORITY, -50),
    ({"expected_output_tokens": 300}, {}, Hint.OUTPUT, 300),
    ({"nvext": {"agent_hints": {"osl": 1024}}}, {}, Hint.OUTPUT, 1_024),
    ({"agent_hints": {"expected_tool_duration_ms": 1_500}}, {}, Hint.TOOL_WAIT, 1_500_000),
    ({"agent_hints": {"expected_tool_duration_ms": 0.25}}, {}, Hint.TOOL_WAIT, 250),
    ({"agent_hints": {"cache_ttl_ms": 20}}, {}, Hint.TTL, 20_000),
    ({"agent_hint": {"cache_control": {"type": "ephemeral", "ttl": 300.5}}}, {}, Hint.TTL, 300_500_000),
    ({"nvext": {"session_control": {"action": "open", "timeout": 60}}}, {}, Hint.TTL, 60_000_000),
    ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {}, Hint.TTL, HOUR_US),
    ({"prompt_cache_retention": "in_memory"}, {}, Hint.TTL, 300_000_000),
]


@pytest.mark.parametrize(("body", "headers", "hint", "value"), DIALECTS)
def test_each_dialect_is_brought_to_one_unit(body, headers, hint, value):
    found = read(body, headers)
    assert dict(found.values) == {hint: value}
    assert not found.clipped


def test_every_source_is_in_the_table_of_dialects():
    spoken = {
        field_name(s.place) for s in SOURCES for body, headers, *_ in DIALECTS if _is_given(s.place, body, headers)
    }
    assert spoken == {field_name(source.place) for source in SOURCES}


def _is_given(place, body, headers):
    if not isinstance(place, Body):
        return place.name in {name.lower() for name in headers}
    for key in place.path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body is not None


def test_two_servers_priorities_point_in_opposite_directions():
    sooner = read({"priority": 1}).values[Hint.PRIORITY], read({"nvext": {"agent_hints": {"priority": 1}}}).values
    assert sooner[0] < 0 < sooner[1][Hint.PRIORITY]


def test_a_header_overrides_the_body_as_its_server_has_it():
    body = {"nvext": {"agent_hints": {"priority": 5}}, "priority": 9}
    assert read(body, {"x-dynamo-request-priority": "2"}).values[Hint.PRIORITY] == 2
    assert read(body).values[Hint.PRIORITY] == 5


@pytest.mark.parametrize(
    ("body", "hint", "value"),
    [
        ({"priority": 10**30}, Hint.PRIORITY, -100),
        ({"priority": -101}, Hint.PRIORITY, 100),
        ({"expected_output_tokens": 4_097}, Hint.OUTPUT, 4_096),
        ({"expected_output_tokens": 0}, Hint.OUTPUT, 1),
        ({"agent_hints": {"expected_tool_duration_ms": -1}}, Hint.TOOL_WAIT, 0),
        ({"agent_hints": {"expected_tool_duration_ms": 1e15}}, Hint.TOOL_WAIT, 24 * HOUR_US),
        ({"agent_hint": {"cache_control": {"ttl": 3_601}}}, Hint.TTL, HOUR_US),
        ({"prompt_cache_retention": "24h"}, Hint.TTL, HOUR_US),
    ],
)
def test_what_is_out_of_bounds_is_cut_to_them_and_said_so(body, hint, value):
    found = read(body)
    assert dict(found.values) == {hint: value}
    assert found.clipped == {hint}
    assert f"{hint}={value};clipped" in found.header(final=False)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: field_name(source.place))
def test_a_malformed_hint_is_refused_by_the_name_of_its_field(source):
    bad = ["soon", "", "1.5", "9" * 30, "\x00"]
    if isinstance(source.place, Body):
        bad += [True, [], {}] + (["5", float("nan"), float("inf"), -float("inf")] if source.words is None else [])
    for value in bad:
        with pytest.raises(FieldError, match="must be") as refused:
            read(*request_with(source.place, value))
        assert refused.value.field == field_name(source.place)


def test_the_answer_says_what_became_of_the_hints():
    body = merged({"priority": 500, "expected_output_tokens": 9_999}, {"agent_hints": {"cache_ttl_ms": 1}})
    assert read(body).header(final=True) == (
        "final, priority=-100;clipped;unused, expected-output-tokens=4096;clipped, ttl-us=1000;unused"
    )
    assert read({}).header(final=False) == ""


def test_the_scheduler_is_told_what_it_has_a_place_for():
    body = {"expected_output_tokens": 7, "agent_hints": {"expected_tool_duration_ms": 2}}
    assert read(body).for_core("job") == Hints(7, 2_000, "job")
    assert read({}).for_core() == Hints()


EVERYWHERE = [source.place for source in SOURCES]


@given(body=asking.bodies(EVERYWHERE), headers=asking.headers(EVERYWHERE), output_tokens_max=st.integers(1, 1 << 40))
def test_no_body_and_no_headers_raise_anything_but_a_refusal_and_the_scheduler_takes_what_is_read(
    body, headers, output_tokens_max
):
    try:
        found = read_hints(body, headers, output_tokens_max=output_tokens_max)
    except FieldError:
        return
    found.header(final=True).encode("ascii")
    assert all(isinstance(value, int) for value in found.values.values())
    assert 1 <= found.values.get(Hint.OUTPUT, 1) <= output_tokens_max
    core = Scheduler(Limits(device_blocks=64))
    core.handle(TurnArrived(0, "acme", "s", "j", "t", "c", 100, 0, 10, hints=found.for_core()))
    assert any(isinstance(decision, RunBatch) for decision in core.decide(0))
