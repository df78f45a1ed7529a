"""Who is let in: keys, Host, headers; and what is in the log of it."""

from __future__ import annotations

import socket

import pytest
from structlog.testing import capture_logs

from .conftest import serving

JSON_POST = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
KEYS = (("ann", "key-of-ann"), ("bob", "key-of-bob"))


@pytest.fixture(scope="module")
def guarded():
    with serving(keys=KEYS) as live:
        yield live


def test_without_a_key_only_health_answers(guarded):
    paths = {(path, method.upper()) for path, route in guarded.http_routes() for method in route}
    assert len(paths) >= 8
    for path, method in paths:
        told = guarded.http.request(method, path.replace("{session_id}", "s"))
        assert told.status_code == (200 if path == "/health" else 401), path
    assert guarded.http.get("/nowhere").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer key-of-an"},
        {"Authorization": "Bearer key-of-ann-"},
        {"Authorization": "Basic key-of-ann"},
        {"Authorization": "key-of-ann"},
        {"X-Api-Key": "KEY-OF-ANN"},
    ],
)
def test_a_wrong_key_is_nobodys(guarded, headers):
    told = guarded.http.get("/v1/models", headers=headers)
    assert told.status_code == 401
    assert told.headers["www-authenticate"] == "Bearer"
    assert "key-of" not in told.text.lower()


def test_a_key_in_the_address_is_none(guarded):
    assert guarded.http.get("/v1/models?api_key=key-of-ann").status_code == 401


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer key-of-ann"}, {"X-Api-Key": "key-of-ann"}])
def test_a_key_lets_in(guarded, headers):
    assert guarded.http.get("/v1/models", headers=headers).status_code == 200


def test_tenants_have_nothing_in_common(guarded):
    ann, bob = ({"X-Api-Key": key} for _, key in KEYS)
    asked = {"session_id": "same", "max_tokens": 4}
    prompt = "the very same words " * 10
    assert guarded.chat(prompt, headers=ann, **asked).status_code == 200
    usage = guarded.chat(prompt, headers=bob, **asked).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    again = guarded.chat(prompt, headers=ann, **asked).json()["usage"]
    assert again["prompt_tokens_details"]["cached_tokens"] > 0
    assert guarded.http.delete("/v1/sessions/same", headers=bob).status_code == 200
    assert guarded.http.delete("/v1/sessions/same", headers=bob).status_code == 404
    assert guarded.http.delete("/v1/sessions/same", headers=ann).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]:80"])
def test_a_page_that_calls_us_by_another_name_is_not_answered(live, host):
    assert live.http.get("/v1/models", headers={"Host": host}).status_code == 403
    assert live.http.get("/health", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_our_own_names_are_answered(live, host):
    assert live.http.get("/v1/models", headers={"Host": host}).status_code == 200


def test_no_other_origin_is_told_that_it_may_read(live):
    told = live.http.options(
        "/v1/models", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    )
    assert not [name for name in told.headers if name.startswith("access-control")]


def test_too_many_headers_are_refused(live):
    assert live.http.get("/health", headers={f"x-{i}": "1" for i in range(101)}).status_code == 431


def _raw(live, request, answer_bytes=1 << 16):
    address = live.server._listener.getsockname()  # noqa: SLF001 - where a client would connect
    with socket.create_connection(address, timeout=4) as client:
        client.sendall(request)
        told = b""
        while piece := client.recv(answer_bytes):
            told += piece
        return told


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        JSON_POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 not HTTP\r\n\r\n",
    ],
)
def test_what_is_not_http_or_too_long_ends_the_connection(live, request_bytes):
    told = _raw(live, request_bytes)
    assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 408"))
    assert live.http.get("/health").status_code == 200


def test_a_length_and_chunks_together_are_not_read_as_two_requests(live):
    told = _raw(
        live,
        b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    assert told.count(b"HTTP/1.1 ") == 1
    assert told.startswith(b"HTTP/1.1 400")


@pytest.fixture(scope="module")
def impatient():
    with serving(receive_timeout_s=0.3, max_body_bytes=1_000, max_connections=8) as live:
        yield live


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: loc",
        JSON_POST + b"Content-Length: 9\r\n\r\n{",
    ],
)
def test_a_request_that_does_not_go_on_is_ended(impatient, begun):
    told = _raw(impatient, begun)
    assert told.startswith(b"HTTP/1.1 408")


def test_a_body_is_refused_before_it_is_read_whole(impatient):
    assert impatient.http.post("/tokenize", json={"prompt": "x" * 1_000}).status_code == 413

    def pieces():
        yield b'{"prompt": "'
        for _ in range(20):
            yield b"x" * 100

    chunked = impatient.http.post("/tokenize", content=pieces(), headers={"Content-Type": "application/json"})
    assert chunked.status_code == 413
    assert impatient.http.post("/tokenize", json={"prompt": "x" * 900}).status_code == 200


def test_connections_beyond_the_bound_are_closed_and_the_others_serve(impatient):
    address = impatient.server._listener.getsockname()  # noqa: SLF001 - where a client would connect
    assert impatient.http.get("/health").status_code == 200  # a connection that is kept
    clients = [socket.create_connection(address, timeout=5) for _ in range(20)]
    try:
        assert impatient.http.get("/health").status_code == 200
        assert len(impatient.server.server_state.connections) <= 9
    finally:
        for client in clients:
            client.close()


def test_the_log_has_one_line_of_plain_characters_and_neither_keys_nor_prompts(guarded):
    with capture_logs() as lines:
        guarded.http.get("/v1/%0a%1b%5b31mred" + "x" * 500, headers={"X-Api-Key": "key-of-ann"})
        guarded.chat("a secret prompt", headers={"X-Api-Key": "key-of-bob"})
    told = [line for line in lines if line["event"] == "request"]
    assert [(line["tenant"], line["status"]) for line in told] == [("ann", 404), ("bob", 200)]
    assert told[0]["path"].startswith("/v1/\\n\\x1b[31mred")
    assert len(told[0]["path"]) < 300
    assert "secret" not in repr(lines)
    assert "key-of" not in repr(lines)
