"""A server in a process of its own, for as long as a command needs it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from astraea.errors import UsageError

__all__ = ["answers", "running_server"]

_START = (sys.executable, "-c", "from astraea.cli import serve_main; raise SystemExit(serve_main())")
_NOT_OURS = {"ASTRAEA_API_KEYS", "ASTRAEA_KEYS_FILE", "ASTRAEA_CONFIG", "ASTRAEA_HOST"}
"""Settings of a server of the person's own, with which this one would not answer us."""
_POLL_S = 0.1
_READY_S = 900
"""How long a start may take: a model may have to come from afar first."""
_STOP_S = 60


@contextmanager
def running_server(arguments: Sequence[str], *, start: Sequence[str] = _START) -> Iterator[str]:
    """Start ``astraea-serve`` with these arguments on a free port and give its URL once it is ready; stop it after.

    Raises :class:`UsageError` with the server's last words where it ends before that or does not get ready.
    """
    port = _free_port()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        process = subprocess.Popen(  # noqa: S603 - our own server
            [*start, "--port", str(port), *arguments], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            env={name: value for name, value in os.environ.items() if name not in _NOT_OURS},
        )  # fmt: skip
        try:
            _wait_until_ready(process, port, words)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port: int, path: str) -> bool:
    """Tell whether a server on this machine answers a GET of ``path`` with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, words: IO[str]) -> None:
    until_s = time.monotonic() + _READY_S
    while not answers(port, "/ready"):
        if process.poll() is not None:
            raise UsageError(f"the server ended with {process.returncode} before it was ready: {_last_line(words)}")
        if time.monotonic() > until_s:
            raise UsageError(f"the server was not ready after {_READY_S} s: {_last_line(words)}")
        time.sleep(_POLL_S)


def _last_line(words: IO[str]) -> str:
    words.seek(0)
    lines = words.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"
