"""How the server ends: at a signal, after a failure of its engine, and killed; its clients are told each time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest

from astraea.errors import InvariantError

from .conftest import serving
from .test_leaving import _body, _connect, _until


def _streamed(live, told, **fields):
    def ask():
        told.append(live.http.post("/v1/chat/completions", json=_body(stream=True, **fields)).text)

    thread = threading.Thread(target=ask)
    thread.start()
    _until(live.live_turns, "the turn does not arrive")
    return thread


def test_at_a_signal_what_is_under_way_ends_and_new_jobs_are_sent_away():
    told = []
    with serving() as live:
        thread = _streamed(live, told, max_tokens=300)
        live.server.handle_exit(signal.SIGTERM, None)
        assert live.http.get("/ready").status_code == 503
        assert live.http.get("/health").status_code == 200
        refused = live.chat("new")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        thread.join()
        _until(lambda: live.server.should_exit, "the server does not leave")
    assert "[DONE]" in told[0]
    assert live.server.exit_code == 0


def test_when_the_grace_is_over_streams_are_cut_with_an_error_and_no_end():
    told = []
    with serving(drain_grace_s=0.2) as live:
        thread = _streamed(live, told)
        live.server.handle_exit(signal.SIGTERM, None)
        thread.join()
    assert '"error"' in told[0]
    assert "[DONE]" not in told[0]
    assert live.server.exit_code == 0


def test_a_second_signal_ends_it_at_once():
    with serving() as live:
        client = _connect(live, _body(stream=True))
        _until(live.live_turns, "the turn does not arrive")
        began_s = time.monotonic()
        live.server.handle_exit(signal.SIGTERM, None)
        live.server.handle_exit(signal.SIGTERM, None)
        _until(lambda: not live.server.service.bridge.is_alive, "the engine goes on")
        assert time.monotonic() - began_s < 10
        client.close()


def test_an_idle_server_leaves_at_the_first_signal():
    with serving() as live:
        live.server.handle_exit(signal.SIGINT, None)
        _until(lambda: live.server.should_exit, "the server does not leave", 5)


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_engine_fails_clients_are_told_and_the_process_ends_as_failed(monkeypatch, stream, tmp_path):
    record = tmp_path / "run.ndjson"
    with serving(record=record) as live:
        assert live.chat("fine").status_code == 200

        def broken(*_):
            raise InvariantError("INV-1", "a block was lost")

        monkeypatch.setattr(live.server.service.bridge.engine._work, "run", broken)  # noqa: SLF001 - its own engine alone
        told = live.chat("x", stream=stream)
        assert told.status_code == 503
        assert told.json()["error"]["code"] == "engine_failed"
        assert "block" not in told.text
        _until(lambda: live.server.should_exit, "the server does not leave")
    assert live.server.exit_code == 1
    assert record.read_text(encoding="utf-8").count("\n") > 3


def test_a_batch_that_fails_fails_its_own_turns_and_nothing_else(live, monkeypatch):
    def broken(*_):
        raise RuntimeError("a library's own words")

    with monkeypatch.context() as patched:
        patched.setattr("astraea.executor.batches.logits_of", broken)
        for stream in (False, True):
            told = live.chat("x", stream=stream)
            assert told.status_code == 500
            assert told.json()["error"]["type"] == "server_error"
            assert "library" not in told.text
    assert live.chat("x").status_code == 200
    assert live.http.get("/ready").status_code == 200


def test_a_server_that_is_killed_starts_again_on_its_port_and_its_clients_see_no_false_end():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from astraea.cli import serve_main; serve_main()",
        "--model",
        "toy",
        "--port",
        str(port),
    ]
    command += ["--threads", "1", "--log-format", "json"]
    for ending, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                _until(lambda: _answers(http), "the server does not start", 120)
                if ending is signal.SIGKILL:
                    with http.stream("POST", "/v1/chat/completions", json=_body(stream=True, max_tokens=8_000)) as told:
                        pieces = told.iter_text()
                        said = [next(pieces)]
                        process.send_signal(ending)
                        with pytest.raises(httpx2.HTTPError):
                            said.extend(pieces)
                    assert "[DONE]" not in "".join(said)
                else:
                    assert http.post("/v1/chat/completions", json=_body(max_tokens=2)).status_code == 200
                    process.send_signal(ending)
                assert process.wait(30) == code
        finally:
            process.kill()


def _answers(http):
    try:
        return http.get("/health").status_code == 200
    except httpx2.HTTPError:
        return False
