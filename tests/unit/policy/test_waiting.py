"""A job's wait counts over all of its turns, seen in the snapshot."""

from astraea import Limits, Scheduler
from astraea.decisions import RunBatch
from astraea.events import BatchDone, Drain, Outcome, TurnArrived, TurnOutcome


def arrival(now_us, turn_id, context_tokens, reusable_tokens=0):
    return TurnArrived(
        now_us=now_us, tenant="acme", session_id="s1", job_id="j1", turn_id=turn_id, context_id="main",
        context_tokens=context_tokens, reusable_tokens=reusable_tokens, max_output_tokens=4,
    )  # fmt: skip


def test_a_second_turn_goes_on_from_the_wait_of_the_first():
    core = Scheduler(Limits(device_blocks=100))
    core.handle(arrival(0, "t1", 20))
    core.handle(Drain(40))
    assert core.snapshot().jobs[0].wait_us == 40
    (batch,) = (decision for decision in core.decide(100) if isinstance(decision, RunBatch))
    core.handle(BatchDone(200, batch.batch_id, 1, (TurnOutcome("t1", Outcome.TOOL_CALL, "shell"),)))
    assert core.snapshot().jobs[0].wait_us == 100
    core.handle(arrival(300, "t2", 30, 21))
    core.handle(Drain(350))
    assert core.snapshot().jobs[0].wait_us == 150
