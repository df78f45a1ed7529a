from __future__ import annotations

import json
from pathlib import Path

import pytest

from astraea.errors import TraceError
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_files import load_trace


def written(folder: Path, *lines: str, name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# Mooncake.


def mooncake(stamp_ms: float, prompt: int, output: int, *hash_ids: int) -> str:
    return json.dumps(
        {"timestamp": stamp_ms, "input_length": prompt, "output_length": output, "hash_ids": list(hash_ids)}
    )


def test_mooncake_requests_that_continue_each_other_become_one_job(tmp_path):
    path = written(
        tmp_path,
        mooncake(0, 1_200, 50, 0, 1, 2),
        mooncake(1_000.5, 1_100, 40, 0, 8, 9),
        mooncake(27_000, 1_600, 30, 0, 1, 3, 4),
        mooncake(90_000, 2_000, 20, 0, 1, 3, 5),
    )
    first, other = load_trace(path)
    assert [turn.context_tokens for turn in first.turns] == [1_200, 1_600, 2_000]
    assert [turn.new_prompt_tokens for turn in first.turns] == [1_200, 350, 370]
    assert [turn.tool for turn in first.turns] == ["user", "user", None]
    assert [turn.tool_wait_us for turn in first.turns] == [27_000_000, 63_000_000, 0]
    assert (first.job_id, other.job_id) == ("mooncake-0", "mooncake-1")
    assert other == JobSpec("mooncake-1", (TurnSpec(1_100, 1_100, 40, None, 0),), 1_000_500)


def test_a_system_prompt_in_common_links_nothing(tmp_path):
    path = written(tmp_path, mooncake(0, 600, 5, 0, 1), mooncake(9, 1_500, 5, 0, 2, 3), mooncake(10, 3_000, 5, 0, 4))
    assert [len(job.turns) for job in load_trace(path)] == [1, 1, 1]


def test_a_prompt_without_room_for_the_answer_does_not_follow(tmp_path):
    path = written(tmp_path, mooncake(0, 1_200, 500, 0, 1, 2), mooncake(9, 1_700, 5, 0, 1, 2, 3))
    assert len(load_trace(path)) == 2


def test_a_request_is_followed_once_and_the_most_recent_first(tmp_path):
    older, newer = mooncake(0, 1_200, 50, 0, 1, 2), mooncake(5_000, 1_210, 50, 0, 1, 2)
    path = written(tmp_path, older, newer, *[mooncake(9_000, 1_600, 9, 0, 1, 3, 4)] * 3)
    assert [len(job.turns) for job in load_trace(path)] == [2, 2, 1]
    assert [job.turns[0].tool_wait_us for job in load_trace(path)] == [4_000_000 + 5_000_000, 4_000_000, 0]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (mooncake(0, 0, 1, 0), "input_length must be between 1 and"),
        (mooncake(0, 1, 0, 0), "output_length must be between 1 and"),
        (mooncake(-1, 1, 1, 0), "timestamp must be between 0 and"),
        (mooncake(0, 1, 1, True), "hash_ids must hold whole numbers only"),
        ('{"input_length": 1, "output_length": 1, "hash_ids": []}', "the key timestamp is missing"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1}', "the key hash_ids is missing"),
    ],
)
def test_a_bad_mooncake_line_is_named(tmp_path, line, complaint):
    with pytest.raises(TraceError, match=f":2: {complaint}"):
        load_trace(written(tmp_path, mooncake(0, 600, 5, 0, 1), line))


# Azure.


def test_azure_rows_are_jobs_of_one_turn_counted_from_the_earliest(tmp_path):
    path = written(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\r",
        "2023-11-16 18:15:47.0000005,396,109\r",
        "2023-11-16 18:15:46.6805900,374,44\r",
        "2023-11-16 19:15:47.680590+01:00,5,6\r",
        name="azure.csv",
    )
    jobs = load_trace(path)
    assert jobs[0] == JobSpec("azure-0", (TurnSpec(396, 396, 109, None, 0),), 319_410)
    assert [job.arrival_us for job in jobs] == [319_410, 0, 1_000_000]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("2023-11-16 18:15:46,374", "expected 3 columns, found 2"),
        ("2023-11-16 18:15:46,374,-1", "'-1' is not a whole number"),
        ("2023-11-16 18:15:46,374,1.5", "'1.5' is not a whole number"),
        ("2023-11-16 18:15:46,0,1", "ContextTokens must be between 1 and"),
        ("2023-11-16 18:15:46,1,0", "GeneratedTokens must be between 1 and"),
        ("2023-13-16 18:15:46,1,1", "is not a time stamp"),
        ("yesterday,1,1", "is not a time stamp"),
    ],
)
def test_a_bad_azure_row_is_named(tmp_path, row, complaint):
    path = written(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46,1,1", row)
    with pytest.raises(TraceError) as refusal:
        load_trace(path)
    assert refusal.value.line == 3
    assert complaint in str(refusal.value)


def test_an_azure_header_with_other_columns_is_refused(tmp_path):
    with pytest.raises(TraceError, match=":1: the header must be TIMESTAMP,ContextTokens,GeneratedTokens"):
        load_trace(written(tmp_path, "TIMESTAMP,Tokens", "2023-11-16 18:15:46,1"))


# kv-cache-tester.


def request(t: float, prompt: int, output: int, hash_ids: list[int], **keys: object) -> dict:
    base = {"t": t, "type": "n", "in": prompt, "out": output, "hash_ids": hash_ids}
    return base | {"input_types": ["tool_result"], "stop": "tool_use"} | keys


SESSION = {
    "id": "trace_1",
    "block_size": 64,
    "requests": [
        request(0.0, 200, 20, [1, 2, 3], input_types=["text"], api_time=4.0),
        request(10.0, 300, 20, [1, 2, 3, 4], think_time=5.5),
        {"type": "subagent", "t": 20.0, "agent_id": "x", "requests": [request(0.0, 70, 7, [9], input_types=["text"])]},
        request(60.0, 340, 0, [1, 2, 3, 4, 5]),
        request(80.0, 290, 20, [1, 2, 6, 7], stop="end_turn", think_time=50.0),
        request(900.0, 320, 20, [1, 2, 6, 7, 8], input_types=["text"], stop="end_turn"),
    ],
}


def test_kv_cache_tester_session_is_split_at_user_requests(tmp_path):
    jobs = load_trace(written(tmp_path, json.dumps(SESSION), name="trace_1.json"))
    assert [job.job_id for job in jobs] == ["trace_1/r0", "trace_1/r1", "trace_1/s0/r0"]
    assert {job.arrival_us for job in jobs} == {None}
    first, second, child = jobs
    assert first.turns == (
        TurnSpec(200, 200, 20, "tool", 5_500_000),
        TurnSpec(80, 300, 20, "subagent", 50_000_000),  # all blocks in common: prompt and answer are held
        TurnSpec(290 - 2 * 64, 290, 20, None, 0),  # two blocks in common with an edited history
    )
    assert second.turns == (TurnSpec(320, 320, 20, None, 0),)
    assert child.turns == (TurnSpec(70, 70, 7, None, 0),)


def test_kv_cache_tester_without_think_time_and_input_types_uses_times_and_stops(tmp_path):
    rows = [request(t, 100 + t, 5, [1], api_time=4.0) for t in (0, 10, 12)]
    for row in rows:
        del row["input_types"]
    rows[1]["stop"] = "end_turn"
    jobs = load_trace(written(tmp_path, json.dumps({"id": "s", "requests": rows}), name="s.json"))
    assert [[turn.tool_wait_us for turn in job.turns] for job in jobs] == [[6_000_000, 0], [0]]


def test_kv_cache_tester_at_least_one_token_is_new(tmp_path):
    rows = [request(0, 128, 20, [1, 2]), request(9, 128, 5, [1, 2]), request(9, 140, 5, [1, 2])]
    (job,) = load_trace(written(tmp_path, json.dumps({"id": "s", "requests": rows}), name="s.json"))
    assert [turn.new_prompt_tokens for turn in job.turns] == [128, 1, 7]


def test_kv_cache_tester_session_spread_over_lines_and_a_folder_of_sessions(tmp_path):
    written(tmp_path, json.dumps(SESSION, indent=1), name="b.json")
    written(tmp_path, json.dumps(SESSION), name="a.json")
    written(tmp_path, "not a trace", name="README.md")
    assert [job.job_id.split("/")[0] for job in load_trace(tmp_path)] == ["a"] * 3 + ["b"] * 3
    assert load_trace(tmp_path / "b.json")[0].turns == load_trace(tmp_path)[0].turns


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"in": 0}, "request 1: in must be between 1 and"),
        ({"out": -1}, "request 1: out must be between 0 and"),
        ({"t": None}, "request 1: the key t is missing"),
        ({"hash_ids": ["x"]}, "request 1: hash_ids must hold whole numbers only"),
        ({"think_time": "1"}, "request 1: think_time must be a number, not a text"),
        ({"type": "subagent"}, "request 1: the key requests is missing"),
    ],
)
def test_a_bad_kv_cache_tester_request_is_named(tmp_path, change, complaint):
    session = {"id": "s", "requests": [request(0, 128, 20, [1, 2]) | change]}
    with pytest.raises(TraceError) as refusal:
        load_trace(written(tmp_path, json.dumps(session), name="s.json"))
    assert complaint in str(refusal.value)


def test_a_damaged_session_over_lines_is_named_with_its_line(tmp_path):
    lines = json.dumps(SESSION, indent=1).splitlines()
    lines[5] = lines[5].replace(":", "")
    for path in (written(tmp_path, *lines, name="s.json"), tmp_path):
        with pytest.raises(TraceError) as refusal:
            load_trace(path)
        assert refusal.value.line == 6


def test_sub_agents_nested_without_end_are_refused(tmp_path):
    session: dict = {"requests": [request(0, 1, 1, [])]}
    for _ in range(12):
        session = {"type": "subagent", "requests": [session]}
    with pytest.raises(TraceError, match="nested more than 8 deep"):
        load_trace(written(tmp_path, json.dumps(session), name="s.json"))
