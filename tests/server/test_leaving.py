"""Clients that leave, that take nothing, that are too many; and that none of it is felt by the others."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from .conftest import serving

LONG = {"max_tokens": 900, "ignore_eos": True, "temperature": 0}


def _body(content="x", **fields):
    return {"messages": [{"role": "user", "content": content}], **LONG, **fields}


def _connect(live, body, receive_bytes=None):
    """A client that has sent its request and reads only what it wants to."""
    sent = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n"
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(live.server._listener.getsockname())  # noqa: SLF001 - where a client would connect
    client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + sent)
    return client


def _until(holds, what, timeout_s=30):
    ends_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends_s, what
        time.sleep(0.002)


@pytest.fixture(scope="module")
def narrow():
    """A server whose batch holds one turn, so that others wait."""
    with serving(max_num_seqs=1, max_queue=3, max_queue_per_tenant=3, keep_alive_s=0.05) as live:
        yield live


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_its_answer_comes_is_computed_for_no_longer(live, stream):
    before = live.numbers()
    client = _connect(live, _body(stream=stream))
    _until(lambda: live.server.service.bridge.last_token_s > time.monotonic() - 0.05 and live.live_turns(), "no token")
    client.close()
    began_s = time.monotonic()
    live.settled(2)
    assert time.monotonic() - began_s < 2
    after = live.numbers()
    assert (
        after['astraea_turns_total{finish="cancelled"}'] == before.get('astraea_turns_total{finish="cancelled"}', 0) + 1
    )
    assert after["vllm:num_requests_running{}"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_in_its_prefill_or_in_the_queue_leaves_nothing(narrow, stream):
    first = _connect(narrow, _body("long " * 200, stream=stream, max_tokens=300))
    second = _connect(narrow, _body("other", stream=stream))
    _until(lambda: narrow.live_turns() == 2, "the turns do not arrive")
    second.close()
    _until(lambda: narrow.live_turns() == 1, "the waiting turn does not end")
    first.close()
    narrow.settled(2)
    assert narrow.numbers()["vllm:num_requests_waiting{}"] == 0


def test_all_blocks_are_back_once_the_sessions_are_closed(narrow):
    free = narrow.server.service.limits.device_blocks
    clients = [_connect(narrow, _body(f"{i} " * 40, stream=True, session_id=f"left-{i}")) for i in range(3)]
    _until(lambda: narrow.live_turns() == 3, "the turns do not arrive")
    for client in clients:
        client.close()
    narrow.settled()
    for session in list(narrow.server.service.placing.sessions.all_ids()):
        narrow.http.delete(f"/v1/sessions/{session}")
    _until(lambda: narrow.numbers()["astraea_sessions{}"] == 0, "a session is left")
    idle = narrow.server.service.bridge.engine.snapshot()
    # Shared beginnings stay until their room is needed.
    assert idle.device_free + sum(prefix.device_blocks for prefix in idle.prefixes) == free
    assert idle.caches == idle.jobs == idle.turns == ()


def test_a_queue_that_is_full_says_when_to_come_again_and_keeps_what_it_has(narrow):
    clients = [_connect(narrow, _body(stream=True, max_tokens=60)) for _ in range(3)]
    _until(lambda: narrow.live_turns() == 3, "the turns do not arrive")
    told = narrow.chat("one more", stream=True)
    assert told.status_code == 429
    assert int(told.headers["retry-after"]) >= 1
    assert told.json()["error"]["code"] == "queue_full"
    for client in clients:
        said = b""
        while b"[DONE]" not in said:
            said += client.recv(1 << 16)
        assert said.startswith(b"HTTP/1.1 200")
        client.close()
    narrow.settled()


def test_a_stream_in_the_queue_says_that_it_is_alive(narrow):
    first = _connect(narrow, _body(stream=True))
    _until(lambda: narrow.live_turns() == 1, "the turn does not arrive")
    second = _connect(narrow, _body("wait", stream=True))
    said = b""
    while said.count(b": still here\n\n") < 2:
        said += second.recv(1 << 16)
    assert b'"content":"' not in said.replace(b'"content":""', b"")
    first.close()
    second.close()
    narrow.settled()


def test_a_client_that_takes_nothing_is_given_up_and_the_others_go_on():
    with serving(send_timeout_s=0.3) as live:
        # Large chunks fill what the network holds for it.
        lazy = _connect(
            live, _body(stream=True, n=8, logprobs=True, top_logprobs=20, max_tokens=400), receive_bytes=2_048
        )
        _until(live.live_turns, "the turns do not arrive")
        assert live.chat("hello").status_code == 200
        _until(lambda: live.live_turns() == 0, "a turn for nobody goes on", 20)
        assert live.numbers()['astraea_turns_total{finish="cancelled"}'] >= 1
        lazy.close()


def test_hostile_requests_do_not_change_a_letter_of_the_other_streams(live):
    prompts = [f"stream number {i} of four" for i in range(4)]

    def streams():
        told = {}

        def ask(prompt):
            answer = live.chat(prompt, stream=True, max_tokens=40, temperature=1.0, seed=5)
            chunks = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: {")]
            told[prompt] = "".join(json.loads(one)["choices"][0]["delta"].get("content", "") for one in chunks)

        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        for thread in threads:
            thread.start()
        return told, threads

    calm, threads = streams()
    for thread in threads:
        thread.join()
    told, threads = streams()
    for fields in (
        {"temperature": 2, "n": 16, "logprobs": True, "top_logprobs": 20, "repetition_penalty": 10},
        {"stop": ["\ufffd" * 256] * 16},
        {"min_tokens": 900, "max_tokens": 900, "frequency_penalty": -2},
        {"max_tokens": (1 << 63) - 1},
        {"session_id": "\u202e", "priority": 1 << 62},
    ):
        client = _connect(live, _body("\u0301" * 50, stream=True, **fields))
        client.recv(64)
        client.close()
    for thread in threads:
        thread.join()
    assert told == calm
    assert all(len(text) > 40 for text in told.values())


def test_after_many_requests_of_all_kinds_nothing_is_left_behind(live):
    def state():
        threads = {thread.name for thread in threading.enumerate()}
        bridge = live.server.service.bridge
        return threads, bridge.live_turns, len(live.server.server_state.tasks)

    live.chat("warm")
    live.settled()
    began = state()
    for i in range(30):
        live.chat(f"{i}", max_tokens=2, session_id=f"many-{i}", final=True)
        live.chat(f"{i}", max_tokens=0)
        if i % 5 == 0:
            _connect(live, _body(stream=True, session_id=f"many-{i}", final=True)).close()
    live.settled()
    _until(lambda: state() == began, f"{state()} is not {began}")
    assert not [one for one in live.server.service.placing.sessions.all_ids() if one.startswith("many-")]
