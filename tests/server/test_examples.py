"""The examples, as they stand, against a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("example", ["agent", "agents_sdk"])
def test_an_agent_uses_its_tool_and_says_what_came_of_it(live, says, example):
    jobs = live.numbers().get("astraea_job_completion_seconds_count{}", 0)
    says('<tool_call>\n{"name": "multiply", "arguments": {"a": 6, "b": 7}}\n</tool_call>', "It is 42.")
    environment = os.environ | {"OPENAI_BASE_URL": f"{live.server.url}/v1", "MODEL": "toy"}
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), "What is 6 times 7?"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("It is 42.\n", "", 0)
    assert live.numbers()["astraea_job_completion_seconds_count{}"] == jobs + 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="it is a script of curl")
def test_the_script_has_two_turns_of_which_the_second_finds_the_cache_of_the_first(live):
    command = ["bash", str(EXAMPLES / "chat.sh"), live.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    first, second, deleted = (json.loads(line) for line in done.stdout.splitlines() if line)
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["prompt_tokens"] - 4  # noise may not be cut into the same tokens again
    assert deleted["deleted"]
