"""What is recorded is read back; what is no trace is refused with its line; what was cut short says so."""

from __future__ import annotations

import io
import json

import pytest

from astraea.decisions import Because, Chunk, Hold, Reason, RunBatch
from astraea.errors import TraceError, UsageError
from astraea.events import BatchDone, Outcome, TurnArrived, TurnOutcome
from astraea.policy.limits import Limits, Tuning
from astraea.policy.protocol import Blocking
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, EventEntry, TraceHeader
from astraea.trace.reader import TraceReader, read_trace
from astraea.trace.recorder import TraceRecorder

LIMITS = Limits(device_blocks=6, tuning=Tuning(shrinkage=1))
WHY = Because(Reason.CHANGED)
ARRIVED = TurnArrived(0, "t", "s", "j", "a", "c", 8, 0, 4)
DONE = BatchDone(9, 2, 3, (TurnOutcome("a", Outcome.FINAL),))
CHUNKS = (Chunk("a", 1), Chunk("b", 1))


def record(recorder):
    recorder.event(ARRIVED)
    recorder.decided(0, [Hold("b", WHY), RunBatch(1, CHUNKS, 4, WHY)])
    recorder.event(BatchDone(5, 1, 4))
    recorder.decided(5, [RunBatch(2, CHUNKS, 4, WHY)])
    recorder.event(DONE)
    recorder.decided(9, [])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.ndjson"
    with TraceRecorder(path, LIMITS, "astraea", blocking=Blocking.STARTS, meta={"seed": 3}) as recorder:
        record(recorder)
    return path


def test_a_recorded_run_is_read_back(path):
    reader = read_trace(path)
    entries = list(reader)
    assert not reader.truncated
    assert entries[0] == TraceHeader(1, "astraea", LIMITS, guarded=True, blocking=Blocking.STARTS, meta=(("seed", 3),))
    assert entries[1] == EventEntry(2, ARRIVED)
    assert entries[2:5] == [
        DecideEntry(3, 0),
        DecisionEntry(4, Hold("b", WHY)),
        DecisionEntry(5, RunBatch(1, CHUNKS, 4, WHY)),
    ]
    assert entries[8] == EventEntry(9, DONE)
    assert entries[9] == DecideEntry(10, 9)
    assert isinstance(entries[10], EndEntry)
    assert (entries[10].events, entries[10].decisions) == (3, 3)
    assert list(reader) == entries, "it can be read as often as needed"


def test_unchanged_chunks_stand_once_and_come_back_as_one_object(path):
    assert path.read_text().count("chunks") == 1
    batches = [e.decision for e in read_trace(path) if isinstance(e, DecisionEntry) and "RunBatch" in repr(e)]
    assert batches[0].chunks is batches[1].chunks


def test_an_open_file_stays_open_and_a_second_close_does_nothing():
    file = io.StringIO()
    recorder = TraceRecorder(file, LIMITS, "fcfs", guarded=False)
    record(recorder)
    recorder.flush()
    recorder.close()
    text = file.getvalue()
    recorder.close()
    assert file.getvalue() == text
    header, *_, end = map(json.loads, text.splitlines())
    assert header["guarded"] is False
    assert end["end"]["digest"] == recorder.hexdigest()


def test_a_run_that_fails_leaves_a_trace_without_an_end(tmp_path):
    path = tmp_path / "run.ndjson"
    recorder = TraceRecorder(path, LIMITS, "astraea")
    recorder.event(ARRIVED)
    with pytest.raises(ZeroDivisionError), recorder:
        raise ZeroDivisionError
    recorder.close()
    reader = read_trace(path)
    assert len(list(reader)) == 2
    assert reader.truncated


def test_a_file_that_was_cut_off_is_read_up_to_there(path):
    whole = path.read_bytes()
    entries = list(read_trace(path))
    for length in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:length])
        reader = read_trace(path)
        read = list(reader)
        assert read == entries[: len(read)]
        complete_lines = whole[:length].count(b"\n")
        assert len(read) in {complete_lines, complete_lines + 1}, "a last line may be whole but for its line feed"
        assert reader.truncated == (not any(isinstance(e, EndEntry) for e in read))


def lines(path):
    return path.read_text().splitlines()


def write(path, rows):
    path.write_text("".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize(
    ("line", "text", "sentence"),
    [
        (1, "[]", "expected an object"),
        (1, '{"event":"Drain","now_us":0}', "not the header of an Astraea trace"),
        (1, '{"astraea_trace":2}', "trace version 2 is not 1, which is read here"),
        (1, '{"astraea_trace":true}', "trace version True is not 1"),
        (1, '{"astraea_trace":1,"mood":1}', "the header has no field 'mood'"),
        (1, '{"astraea_trace":1,"digest":"md5"}', "digest 'md5' is not"),
        (1, '{"astraea_trace":1,"digest":"sha256-steps-1","blocking":"x"}', "blocking 'x' is not one of everything"),
        (1, '{"astraea_trace":1,"digest":"sha256-steps-1","policy":1}', "policy must be a text"),
        (1, '{"astraea_trace":1,"digest":"sha256-steps-1","meta":1}', "meta must be an object"),
        (2, "", "not valid JSON"),
        (2, "{}", "neither an event, a decide, a decision nor the end"),
        (2, '{"event":"Nap"}', '"Nap" is no event'),
        (2, '{"decision":"Preempt","turn_id":"a","because":{"reason":"growth"}}', "a decision without a decide"),
        (3, '{"decide":0.5}', "decide must be a whole number"),
        (5, '{"decision":"RunBatch","batch_id":1,"max_steps":4,"because":{"reason":"changed"}}', "no RunBatch stands"),
        (6, '{"decision":"Hold","turn_id":"b"}', "Hold lacks the field because"),
        (11, '{"end":{}}', "the end must be an object with"),
        (11, '{"end":3}', "the end must be an object with"),
        (11, '{"end":{"digest":"x","events":3,"decisions":4}}', "tells of 4 decisions, but 3 stand before it"),
        (11, '{"end":{"digest":1,"events":3,"decisions":3}}', "digest must be a text"),
    ],
)
def test_a_line_that_does_not_belong_is_named(path, line, text, sentence):
    rows = lines(path)
    rows[line - 1] = text
    write(path, rows)
    with pytest.raises(TraceError) as caught:
        list(read_trace(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert sentence in str(caught.value)
    assert caught.value.line == line


def test_nothing_follows_the_end(path):
    write(path, [*lines(path), lines(path)[1]])
    with pytest.raises(TraceError, match=":12: a line follows the end"):
        list(read_trace(path))


def test_a_line_that_is_too_long_is_not_parsed(path):
    write(path, [*lines(path)[:3], "x" * 900])
    with pytest.raises(TraceError, match=":4: the line is longer than 890 bytes"):
        list(TraceReader(path, line_bytes_max=890))


def test_bytes_that_are_no_text_are_refused(path):
    path.write_bytes(b"\x80\x04K*.")
    with pytest.raises(TraceError, match=":1: the line is not UTF-8 text"):
        list(read_trace(path))


def test_an_empty_file_is_no_trace(path):
    path.write_text("")
    with pytest.raises(TraceError, match=":1: the file is empty"):
        list(read_trace(path))


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError, match="there is no such trace"):
        list(read_trace(tmp_path / "no"))
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_trace(tmp_path))
    with pytest.raises(UsageError, match="cannot be written"):
        TraceRecorder(tmp_path / "no" / "run", LIMITS, "astraea")
