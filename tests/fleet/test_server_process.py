"""A server is started, waited for, used and stopped; and what it says last is told where it cannot start."""

from __future__ import annotations

import sys

import pytest

from astraea.cli.server_process import answers, running_server
from astraea.errors import UsageError

SERVER = """
import argparse, http.server, os, signal, sys, time
from pathlib import Path
options = argparse.ArgumentParser()
options.add_argument("--port", type=int)
options.add_argument("--ready-after", type=int, default=0)
options.add_argument("--stopped")
asked = options.parse_args()
count = 0
assert "ASTRAEA_API_KEYS" not in os.environ
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        self.send_response(200 if self.path == "/ready" and count > asked.ready_after else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
def stop(*_):
    Path(asked.stopped).write_text("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", asked.port), Handler).serve_forever(poll_interval=0.01)
"""


def test_it_is_there_once_it_is_ready_and_gone_after(tmp_path, monkeypatch):
    stopped = tmp_path / "stopped"
    monkeypatch.setenv("ASTRAEA_API_KEYS", "of another server")
    arguments = ["--ready-after", "3", "--stopped", str(stopped)]
    with running_server(arguments, start=(sys.executable, "-c", SERVER)) as url:
        port = int(url.rsplit(":", 1)[1])
        assert answers(port, "/ready")
        assert not answers(port, "/other")
        assert not stopped.exists()
    assert stopped.read_text() == "stopped"
    assert not answers(port, "/ready")


@pytest.mark.parametrize(
    ("program", "words"),
    [("raise SystemExit('no such model')", "ended with 1 .*no such model"), ("pass", "ended with 0 .*it said nothing")],
)
def test_a_server_that_does_not_start_is_told_of_in_its_last_words(program, words):
    with (
        pytest.raises(UsageError, match=words),
        running_server([], start=(sys.executable, "-c", program)),
    ):
        pytest.fail("it never ran")


def test_it_is_stopped_where_its_user_fails(tmp_path):
    stopped = tmp_path / "stopped"
    with (
        pytest.raises(ZeroDivisionError),
        running_server(["--stopped", str(stopped)], start=(sys.executable, "-c", SERVER)),
    ):
        1 / 0  # noqa: B018
    assert stopped.exists()
