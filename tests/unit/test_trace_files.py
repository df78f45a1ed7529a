from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from astraea.errors import TraceError, UsageError
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_files import filter_jobs, load_trace

TURN = {"new_prompt_tokens": 10, "context_tokens": 10, "output_tokens": 2, "tool": None, "tool_s": None}


def job_line(*turns: dict, **keys: object) -> str:
    return json.dumps({"job_id": "a", "arrival_s": None, "turns": list(turns or (TURN,))} | keys)


def written(folder: Path, *lines: str, name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# The project's own form.


def test_project_form_with_everything_optional_left_out(tmp_path):
    (job,) = load_trace(written(tmp_path, json.dumps({"job_id": "a", "turns": [TURN]})))
    assert job == JobSpec("a", (TurnSpec(10, 10, 2, None, 0),))


def test_project_form_with_optional_keys_and_keys_to_ignore(tmp_path):
    first = TURN | {"tool": "ls", "tool_s": 0.1, "gap_s": 3, "parallel_group": 4}
    text = job_line(
        first, TURN, arrival_s=1, session_id="s", tenant="t", source="x", warm_prefix_tokens=9,
        shared_prefix_id="p", shared_prefix_tokens=8,
    )  # fmt: skip
    (job,) = load_trace(written(tmp_path, text))
    assert (job.arrival_us, job.session_id, job.tenant) == (1_000_000, "s", "t")
    assert (job.shared_prefix_id, job.shared_prefix_tokens) == ("p", 8)
    assert job.turns[0] == TurnSpec(10, 10, 2, "ls", 100_000, 4)


@pytest.mark.parametrize(
    ("seconds", "micros"),
    [("0.0000005", 0), ("0.0000015", 2), ("0.0000025", 2), ("1e-6", 1), ("34.8", 34_800_000), ("7", 7_000_000)],
)
def test_seconds_are_rounded_half_even_to_microseconds(tmp_path, seconds, micros):
    text = job_line(TURN | {"tool": "ls", "tool_s": 99.5}, TURN).replace("99.5", seconds)
    (job,) = load_trace(written(tmp_path, text))
    assert job.turns[0].tool_wait_us == micros


def test_an_edited_history_is_legal_and_may_shrink(tmp_path):
    shrunk = TURN | {"context_tokens": 6, "new_prompt_tokens": 1}
    (job,) = load_trace(written(tmp_path, job_line(TURN, shrunk)))
    assert [turn.reusable_tokens for turn in job.turns] == [0, 5]


def test_nothing_is_waited_for_after_the_last_turn_or_group(tmp_path):
    wait = TURN | {"tool": "ls", "tool_s": 5}
    lone, grouped = job_line(wait, wait), job_line(wait, *[wait | {"parallel_group": 1}] * 2, job_id="b")
    waits = [[turn.tool_wait_us for turn in job.turns] for job in load_trace(written(tmp_path, lone, grouped))]
    assert waits == [[5_000_000, 0], [5_000_000, 0, 0]]


def test_blank_lines_crlf_and_a_byte_order_mark_are_read_over(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + job_line().encode() + b"\r\n\r\n" + job_line(job_id="b").encode())
    assert [job.job_id for job in load_trace(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"new_prompt_tokens": 0}, "turn 1: new_prompt_tokens must be between 1 and"),
        ({"new_prompt_tokens": 11}, "new_prompt_tokens 11 is more than context_tokens 10"),
        ({"output_tokens": 0}, "output_tokens must be between 1 and"),
        ({"output_tokens": True}, "output_tokens must be a whole number, not a truth value"),
        ({"output_tokens": 2.0}, "output_tokens must be a whole number, not a fraction"),
        ({"output_tokens": "2"}, "output_tokens must be a whole number, not a text"),
        ({"output_tokens": None}, "output_tokens must be a whole number, not null"),
        ({"output_tokens": 10**30}, "output_tokens must be between 1 and"),
        ({"tool_s": -1}, "tool_s must be between 0 and"),
        ({"tool_s": 1e300}, "tool_s must be between 0 and"),
        ({"tool_s": float("nan")}, "NaN is not a number"),
        ({"tool_s": float("inf")}, "Infinity is not a number"),
        ({"tool_s": True}, "tool_s must be a number, not a truth value"),
        ({"tool": 3}, "tool must be a text, not a whole number"),
        ({"parallel_group": -1}, "parallel_group must be between 0 and"),
    ],
)
def test_a_bad_turn_is_named_with_its_line(tmp_path, change, complaint):
    path = written(tmp_path, job_line(job_id="good"), "", job_line(TURN | change))
    with pytest.raises(TraceError) as refusal:
        load_trace(path)
    assert (refusal.value.source, refusal.value.line) == (str(path), 3)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (job_line(job_id="good"), "the job_id 'good' was used on an earlier line"),
        ('{"turns": []}', "the key job_id is missing"),
        ('{"job_id": "a"}', "the key turns is missing"),
        ('{"job_id": "a", "turns": []}', "turns is empty"),
        ('{"job_id": "a", "turns": 3}', "turns must be a list, not a whole number"),
        ('{"job_id": "a", "turns": [3]}', "turn 1: expected an object, found a whole number"),
        (job_line({}), "the key context_tokens is missing"),
        (job_line(shared_prefix_id="p"), "the key shared_prefix_tokens is missing"),
        ("[]", "expected an object, found a list"),
        ('{"job_id": "a",}', "not valid JSON"),
        ('{"job_id": "a"', "not valid JSON"),
        ('{"job_id": %s}' % ("9" * 5_000), "not readable as JSON"),
        ('{"a":' * 200_000, "not readable as JSON"),
    ],
    ids=lambda value: value[:24],
)
def test_a_bad_line_is_named(tmp_path, line, complaint):
    path = written(tmp_path, job_line(job_id="good"), line)
    with pytest.raises(TraceError) as refusal:
        load_trace(path)
    assert refusal.value.line == 2
    assert complaint in str(refusal.value)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(job_line().encode() + b'\n{"job_id": "\xff"}\n')
    with pytest.raises(TraceError, match=":2: not UTF-8"):
        load_trace(path)


# Which form it is.


def test_a_path_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="there is no such trace"):
        load_trace(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match=r"holds no [.]json file"):
        load_trace(tmp_path)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_holds_no_job(tmp_path, text):
    with pytest.raises(TraceError, match="holds no job"):
        load_trace(written(tmp_path, text))


@pytest.mark.parametrize("text", ["hello", "a,b,c\n1,2,3", '{"x": 1}'])
def test_an_unknown_form_is_said_to_be_so(tmp_path, text):
    with pytest.raises(TraceError, match="known"):
        load_trace(written(tmp_path, text))


def test_a_damaged_first_line_is_blamed_on_that_line(tmp_path):
    with pytest.raises(TraceError) as refusal:
        load_trace(written(tmp_path, job_line()[:-3] + "}", job_line()))
    assert refusal.value.line == 1


# Filtering.


def test_jobs_too_large_or_too_short_are_left_out_and_waits_are_capped():
    wait = TurnSpec(10, 10, 5, "ls", 9_000_000)
    short = JobSpec("short", (TurnSpec(1, 1, 1, None, 0),))
    jobs = [short, JobSpec("fits", (wait, wait)), JobSpec("same", (wait,) * 3)]
    large = JobSpec("large", (wait, TurnSpec(10, 10, 6, None, 0)))
    kept, left_out_count = filter_jobs([*jobs, large], tokens_max=15, min_turns=2, tool_cap_us=2_000_000)
    assert [job.job_id for job in kept] == ["fits", "same"]
    assert left_out_count == 2
    assert {turn.tool_wait_us for job in kept for turn in job.turns} == {2_000_000}
    assert jobs[1].turns[0].tool_wait_us == 9_000_000
    assert filter_jobs(jobs, tokens_max=15) == (jobs, 0)


@pytest.mark.parametrize("bound", [{"tokens_max": 0}, {"min_turns": 0}, {"tool_cap_us": -1}])
def test_a_bad_bound_is_refused(bound):
    with pytest.raises(UsageError):
        filter_jobs([], **({"tokens_max": 1} | bound))


# Real traces, where someone has them.

FOLDER = os.environ.get("ASTRAEA_TRACES", "")


@pytest.mark.skipif(not FOLDER, reason="ASTRAEA_TRACES names no folder of trace files")
@pytest.mark.parametrize(
    ("name", "jobs", "turns"),
    [
        ("coding_requests.jsonl", 697, 11_173),
        ("swebench.jsonl", 241, 9_743),
        ("chat.jsonl", 4_169, 5_988),
        ("named_tools.jsonl", 28, 909),
    ],
)
def test_real_traces_load_whole(name, jobs, turns):
    path = Path(FOLDER) / name
    if not path.exists():
        pytest.skip(f"ASTRAEA_TRACES holds no {name}")
    loaded = load_trace(path)
    assert (len(loaded), sum(len(job.turns) for job in loaded)) == (jobs, turns)
    assert max(Counter(job.job_id for job in loaded).values()) == 1
    assert all(1 <= turn.new_prompt_tokens <= turn.context_tokens for job in loaded for turn in job.turns)
