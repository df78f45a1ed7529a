"""A digest tells runs apart by what was decided and run, and not by the number of steps run at a time."""

from __future__ import annotations

import hashlib

from astraea.decisions import Because, Chunk, Dispatch, Hold, Reason, Refuse, RunBatch, WakeAt
from astraea.events import BatchDone, BatchOverdue, Drain
from astraea.trace import digest as digest_module
from astraea.trace.digest import RunDigest

WHY = Because(Reason.CHANGED)
ONE = (Chunk("a", 1),)
TWO = (Chunk("a", 1), Chunk("b", 8))


def digest_of(*items):
    run = RunDigest()
    for item in items:
        if isinstance(item, tuple):
            run.decided(item[0], list(item[1:]))
        else:
            run.reported(item)
    return run.hexdigest()


def batch(batch_id, steps=9, chunks=ONE, reason=Reason.CHANGED, dispatched=()):
    return RunBatch(batch_id, chunks, steps, Because(reason), dispatched)


def test_the_text_that_is_hashed():
    dispatch = Dispatch("b", 0, Because(Reason.RANKED, (("need_blocks", 1),)))
    text = (
        '{"decided_us":1,"decision":"Dispatch","turn_id":"b","start_tokens":0,'
        '"because":{"reason":"ranked","numbers":{"need_blocks":1}}}\n'
        '{"steps":3,"chunks":[["a",1],["b",8]]}\n'
        '{"decided_us":7,"decision":"WakeAt","at_us":8,"because":{"reason":"changed"}}\n'
    )
    run = ((1, batch(1, chunks=TWO, dispatched=(dispatch,))), BatchDone(6, 1, 3), (7, WakeAt(8, WHY)))
    assert digest_of(*run) == hashlib.sha256(text.encode()).hexdigest()


def test_many_steps_at_once_or_one_at_a_time():
    many = ((0, batch(1, 4)), BatchDone(4, 1, 4), (4, batch(2, 4)), BatchDone(6, 2, 2))
    single = []
    for n in range(6):
        single += [(n, batch(n + 1, 6 - n, reason=Reason.STEADY, chunks=(Chunk("a", 1),))), BatchDone(n + 1, n + 1, 1)]
    assert digest_of(*many) == digest_of(*single)
    assert digest_of(*many) != digest_of(*many, (6, batch(3)), BatchDone(7, 3, 1))


def test_steps_that_were_not_reported_do_not_count():
    run = ((0, batch(1, 4)), BatchDone(4, 1, 4))
    assert digest_of(*run, (4, batch(2, 4))) == digest_of(*run)
    assert digest_of(*run, (4, batch(2, 4)), BatchDone(4, 2, 0)) == digest_of(*run)
    assert digest_of(*run, (4, batch(2, 4)), BatchOverdue(5, 2), BatchDone(6, 2, 4)) == digest_of(*run)
    assert digest_of(*run, (4, batch(2, 4)), BatchDone(5, 99, 4), Drain(5)) == digest_of(*run)


def test_what_is_decided_during_a_batch_counts_after_its_steps():
    refuse = Refuse("z", None, Because(Reason.DRAINING))
    many = ((0, batch(1, 4)), (2, refuse), BatchDone(3, 1, 3))
    single = ((0, batch(1, 4)), BatchDone(1, 1, 1), (1, batch(2, 3)), BatchDone(2, 2, 1), (2, batch(3, 2)), (2, refuse))
    assert digest_of(*many) == digest_of(*single, BatchDone(3, 3, 1))
    assert digest_of(*many) != digest_of((0, batch(1, 4)), BatchDone(3, 1, 3))
    overdue = digest_of((0, batch(1, 4)), (2, refuse), BatchOverdue(3, 1))
    assert overdue == digest_of((2, refuse)) == digest_of((0, batch(1, 4)), (2, refuse))


def test_what_is_decided_with_a_batch_counts_before_its_steps():
    wake = WakeAt(9, WHY)
    many = ((0, batch(1, 2), wake), BatchDone(2, 1, 2))
    single = ((0, batch(1, 2), wake), BatchDone(1, 1, 1), (1, batch(2, 1)), BatchDone(2, 2, 1))
    assert digest_of(*many) == digest_of(*single)


def test_every_difference_counts():
    dispatch = Dispatch("a", 0, WHY)
    run = [(0, batch(1, dispatched=(dispatch,))), BatchDone(1, 1, 1), (1, Hold("b", WHY))]
    digests = {
        digest_of(*run),
        digest_of(*run[:2]),
        digest_of((1, run[0][1]), *run[1:]),
        digest_of((0, batch(1, chunks=TWO, dispatched=(dispatch,))), *run[1:]),
        digest_of((0, batch(1, dispatched=(Dispatch("a", 1, WHY),))), *run[1:]),
        digest_of(run[0], BatchDone(1, 1, 2), run[2]),
        digest_of(*run[:2], (1, Hold("b", Because(Reason.NO_ROOM)))),
        digest_of(run[0], run[2], run[1]),
    }
    assert len(digests) == 7, "only the last differs in nothing that counts"


def test_steps_of_unchanged_chunks_are_not_written_out_again(monkeypatch):
    written = []
    monkeypatch.setattr(digest_module, "chunks_to_json", lambda chunks: written.append(chunks) or [])
    run = RunDigest()
    for n in range(50):
        run.decided(n, [batch(n + 1)])
        run.reported(BatchDone(n + 1, n + 1, 1))
    assert written == [ONE]


def test_the_digest_of_a_run_so_far_leaves_the_run_alone():
    run = RunDigest()
    run.decided(0, [batch(1)])
    run.reported(BatchDone(1, 1, 1))
    first = run.hexdigest()
    assert run.hexdigest() == first
    run.decided(1, [batch(2)])
    run.reported(BatchDone(2, 2, 1))
    assert run.hexdigest() == digest_of((0, batch(1)), BatchDone(2, 1, 2)) != first
