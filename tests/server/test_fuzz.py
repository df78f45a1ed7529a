"""schemathesis asks the server by the server's own description: no 5xx, and no status that is not documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from astraea.server import app

from .conftest import serving

COMMAND = Path(sys.executable).with_name("schemathesis")
CHECKS = "not_a_server_error,status_code_conformance"


def _fuzzed(folder, url, *more):
    asked = ["run", f"{url}/openapi.json", "--seed", "1", "--phases", "fuzzing", "--checks", CHECKS, "--no-color"]
    asked += ["--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "20", *more]
    return subprocess.run([COMMAND, *asked], capture_output=True, text=True, check=False, timeout=120, cwd=folder)


def test_what_is_asked_by_the_servers_own_description_is_answered_as_it_says(tmp_path):
    with serving(max_model_len=64) as live:
        told = _fuzzed(tmp_path, live.server.url, "--max-examples", "4")
    assert told.returncode == 0, told.stdout
    assert "13 passed" in told.stdout, told.stdout


def test_a_status_that_is_not_documented_would_be_noticed(monkeypatch, tmp_path):
    documented = app._ERRORS  # noqa: SLF001 - what the mutant forgets a part of
    monkeypatch.setattr(app, "_ERRORS", {status: words for status, words in documented.items() if status != 400})
    with serving(max_model_len=64) as live:
        told = _fuzzed(
            tmp_path, live.server.url, "--max-examples", "30", "--include-path", "/v1/completions", "--mode", "negative"
        )
    assert told.returncode == 1, told.stdout
