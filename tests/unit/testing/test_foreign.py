"""The schedulers of ``examples/conformance``, and the page that tells of them."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from attrs import evolve
from mutant_schedulers import ForgetsOne

from astraea import UsageError
from astraea.testing import CLAIMS, Profile, examine, play
from astraea.testing.moves import Advance, Arrive, CancelAll, Job, Turn
from examples.conformance.__main__ import FACTORIES, broken, factory, main, table

PAGE = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text(encoding="utf-8")
SHORT = Profile(name="short", streams=30, moves_max=12, shrinks=60, walks=3, comers=12)
TRIED = "5.24"
"""The release of transformers of which the page speaks."""

BREAKS = {
    "astraea": set(),
    "plain-fcfs": set(),
    "paper-mlfq": {"INV-9", "LIVE-1"},
    "transformers-fifo": {"INV-5", "INV-6", "LIVE-1", "LIVE-2", "LIVE-4"},
    "transformers-prefill-first": {"INV-5", "INV-6", "LIVE-1", "LIVE-2", "LIVE-4"},
}


def test_the_paper_s_algorithm_starves_and_knows_the_future():
    report = examine(factory("paper-mlfq"), profile=SHORT)
    print(report)
    assert set(report.broken) == BREAKS["paper-mlfq"]
    assert set(report.kept) == set(CLAIMS) - BREAKS["paper-mlfq"]


@pytest.fixture(params=["transformers-fifo", "transformers-prefill-first"])
def transformers_scheduler(request):
    pytest.importorskip("transformers", reason="transformers is not installed, of which this is the scheduler")
    if not metadata.version("transformers").startswith(TRIED):
        pytest.skip(f"the page speaks of transformers {TRIED}, and this is {metadata.version('transformers')}")
    return factory(request.param)


def test_transformers_counts_blocks_and_tokens_right_and_passes_large_prompts_without_bound(transformers_scheduler):
    claims = ["CALLS", "INV-1", "INV-2", "INV-4", "INV-5", "INV-9", "LIVE-1"]
    report = examine(transformers_scheduler, claims=claims, profile=evolve(SHORT, comers=24))
    print(report)
    assert set(report.broken) == {"INV-5", "LIVE-1"}
    assert set(report.kept) == set(claims) - {"INV-5", "LIVE-1"}


def test_transformers_takes_nothing_new_once_a_request_lost_its_blocks_and_all_that_ran_were_cancelled(
    transformers_scheduler,
):
    one = Job((Turn(40, 16),))
    moves = [Arrive((one,) * 6), Advance(12), CancelAll(), Arrive((one,))]
    run = play(transformers_scheduler, moves)
    print(*run.sentences(), sep="\n")
    assert any(call.answer.preempted for call in run.calls if hasattr(call.answer, "preempted"))
    assert set(run.watch.breaches) == {"INV-6", "LIVE-2", "LIVE-4"}
    without = play(transformers_scheduler, [move for move in moves if not isinstance(move, CancelAll)])
    assert not without.watch.breaches


def test_the_command_prints_the_table_and_json(capsys):
    assert main(["--only", "plain-fcfs", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert {finding["claim"]: finding["verdict"] for finding in told["findings"]} == dict.fromkeys(CLAIMS, "kept")
    report = examine(ForgetsOne, profile=SHORT)
    assert "| LIVE-2 | **broken** |" in table([report])
    story = broken(report, calls=True)
    assert "ForgetsOne, LIVE-2: b0 is live, and 16 steps in a row ran nothing\n    submit(a0" in story
    with pytest.raises(UsageError, match="no scheduler 'nobody'"):
        main(["--only", "nobody"])


def test_the_page_has_the_verdicts_that_are_tested_here():
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    head = next(row for row in rows if row[1:] == list(FACTORIES))
    told = {row[0]: row[1:] for row in rows if row[0] in CLAIMS and len(row) == len(head)}
    assert list(told) == list(CLAIMS)
    for at, name in enumerate(FACTORIES):
        assert {claim for claim, verdicts in told.items() if verdicts[at] == "**broken**"} == BREAKS[name]


def test_the_page_s_adapter_runs_and_breaks_what_the_page_says(capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(example, "docs/conformance.md", "exec"), {"__name__": "page"})  # noqa: S102 - it is our own text
    printed = capsys.readouterr().out
    (told,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    # How many calls it takes differs from one release of Hypothesis to the next.
    assert [line.split()[:2] for line in printed.splitlines()] == [line.split()[:2] for line in told.splitlines()]
    assert "10 kept, 1 broken, 0 not judged" in printed.splitlines()[0]
