"""The guide for those who embed the scheduler: its code runs, its tables are whole, and the example ends well."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from astraea.decisions import Decision
from astraea.events import Event

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_code_of_the_guide_runs(number):
    exec(compile(BLOCKS[number], f"docs/embedding.md, block {number}", "exec"), {})  # noqa: S102 - our own text


def test_the_guide_shows_the_loop_and_each_piece_alone():
    assert len(BLOCKS) == 4


def test_the_guide_names_every_event_and_every_decision():
    for cls in (*get_args(Event), *get_args(Decision)):
        assert f"`{cls.__name__}`" in GUIDE, cls.__name__


def test_the_example_serves_its_agents_on_the_base_install():
    example = ROOT / "examples" / "embed.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) < 80
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(example)],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert sum("ends: final" in line for line in printed) == 3
    assert "ends: pytest" in "".join(printed)
    assert {"astraea", "attr", "attrs", "sortedcontainers"} <= set(printed[-1].split())
    assert not {"typer", "rich", "structlog", "matplotlib", "torch"} & set(printed[-1].split())
