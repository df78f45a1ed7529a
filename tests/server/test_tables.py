"""The page about the server and the server agree on every field."""

from __future__ import annotations

import re
from pathlib import Path

from astraea.server.accepted import CHAT_REFUSED, COMPLETION_REFUSED, WITHOUT_EFFECT
from astraea.server.claude_schema import CLAUDE_REFUSED, ClaudeRequest
from astraea.server.responses_schema import RESPONSES_REFUSED, ResponsesRequest
from astraea.server.schema import ChatRequest, CompletionRequest

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")


def _section(name):
    return re.search(f"<!-- {name} -->(.*?)<!-- /{name} -->", PAGE, re.DOTALL)[1]


def _rows(name):
    rows = re.findall(
        r"^\| (chat completions|completions|responses|messages) \| (.*) \|$", _section(name), re.MULTILINE
    )
    return {route: sorted(re.findall(r"`(\w+)`", fields)) for route, fields in rows}


def test_the_honoured_fields_are_those_that_are_read():
    assert _rows("honoured") == {
        "chat completions": sorted(ChatRequest.model_fields),
        "completions": sorted(CompletionRequest.model_fields),
        "responses": sorted(ResponsesRequest.model_fields.keys() - RESPONSES_REFUSED.keys()),
        "messages": sorted(ClaudeRequest.model_fields),
    }


def test_the_fields_without_effect_are_those_that_have_none():
    assert sorted(set(re.findall(r"`([a-z_]+)`", _section("without effect")))) == sorted(WITHOUT_EFFECT)


def test_the_refused_fields_are_those_that_are_refused():
    assert _rows("refused") == {
        "chat completions": sorted(CHAT_REFUSED),
        "completions": sorted(COMPLETION_REFUSED.keys() - CHAT_REFUSED.keys()),
        "responses": sorted(RESPONSES_REFUSED),
        "messages": sorted(CLAUDE_REFUSED),
    }


def test_no_field_has_no_effect_on_one_route_and_is_refused_on_the_same(live):
    told = live.chat("x", **dict.fromkeys(WITHOUT_EFFECT))
    assert told.status_code == 200
    assert told.headers["x-astraea-ignored"].split(", ") == sorted(WITHOUT_EFFECT)


def test_every_route_is_on_the_page(live):
    for path, _ in live.http_routes():
        assert path.replace("{session_id}", "{id}").replace("{response_id}", "{id}") in PAGE
