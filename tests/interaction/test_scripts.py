"""Runs each script and compares what the scheduler says with what is written.

``pytest tests/interaction --rewrite`` writes down what it says now. Only commit a difference that you understand.
"""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

import pytest

from .runner import rewritten

SCRIPTS = sorted(Path(__file__).with_name("scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_scheduler_says_what_is_written(path, request):
    written, said = path.read_text(encoding="utf-8"), rewritten(path)
    if request.config.getoption("--rewrite"):
        path.write_text(said, encoding="utf-8")
        return
    difference = "\n".join(unified_diff(written.split("\n"), said.split("\n"), "written", "said", lineterm=""))
    if difference:
        pytest.fail(f"{path.name} goes otherwise (if it is meant: pytest --rewrite)\n{difference}", pytrace=False)


def test_there_are_scripts_and_each_says_what_it_shows():
    assert len(SCRIPTS) >= 12
    for path in SCRIPTS:
        opening = path.read_text(encoding="utf-8").split("\n\n")[0]
        assert all(line.startswith("# ") for line in opening.split("\n")), path.name
        assert opening.count(".") >= 2, f"{path.name} opens with two sentences"
