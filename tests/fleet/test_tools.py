"""The agents' tools: real programs, fed from a seed."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from astraea.errors import AstraeaError
from astraea.fleet import tools as tools_module
from astraea.fleet.filler import Ruler, filler
from astraea.fleet.tools import TOOLS, Tools, tool_for
from astraea.simulator.generators import generate, workload_names


def used(*uses):
    """What each (tool, dice, wait) printed, one after the other."""

    async def use():
        async with Tools() as tools:
            return [await tools.run(tool, dice, wait_us) for tool, dice, wait_us in uses]

    return asyncio.run(use())


def test_the_calculator_calculates():
    for seed in range(4):
        dice = Random(seed)
        left, sign, right = dice.randrange(10_000), dice.choice("+-*/"), dice.randrange(1, 99)
        right_answer = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
        assert used(("calculator", Random(seed), 0)) == [f"{right_answer}\n"]


def test_the_search_finds_just_the_files_that_hold_a_word():
    (found,) = used(("search", Random(1), 0))
    word = filler(Random(1), 1)
    texts = {f"notes-{index:02}.txt": filler(Random(f"file {index}"), 40) for index in range(32)}
    assert found
    assert found.splitlines() == [name for name, text in sorted(texts.items()) if any(word in w for w in text.split())]


def test_a_page_is_fetched_and_is_the_same_each_time():
    first, again, other = used(("fetch", Random(1), 0), ("fetch", Random(1), 0), ("fetch", Random(2), 0))
    assert first == again != other
    assert len(first.split()) == 30


def test_a_tool_takes_at_least_the_wait_that_is_asked_for():
    began_s = time.monotonic()
    assert used(("wait", Random(0), 120_000), ("calculator", Random(0), 120_000))[0] == "done\n"
    assert time.monotonic() - began_s >= 0.24


def test_a_program_that_fails_says_so_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(tools_module, "_FOLDER", tmp_path)
    (tmp_path / "search.py").write_text("raise SystemExit('no such word')")
    with pytest.raises(AstraeaError, match="the tool search ended with 1: no such word"):
        used(("search", Random(0), 0))


def test_each_tool_of_a_workload_is_one_of_ours():
    named = {turn.tool for name in workload_names() for job in generate(name, 6, 0) for turn in job.turns}
    assert {tool_for(name) for name in named} == set(TOOLS)
    assert tool_for(None) == tool_for("anything") == "wait"


def test_a_ruler_through_two_prompts_foretells_a_third():
    ruler = Ruler.measured((16, 50), (144, 306), (16, 61))
    assert (ruler.base_tokens, ruler.tokens_per_word, ruler.round_tokens) == (18.0, 2.0, 11.0)
    assert ruler.words(100) == 50
    assert ruler.words(-5) == 1
