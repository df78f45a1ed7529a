"""INV-8: in any state an event is legal, or it is refused with a ContractError and nothing has changed.

A walk is driven twice: as it is, and with every illegal event thrown in at every state. Each must be refused, leave the
snapshot equal, and leave no trace in anything that is decided later.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from driver import TENANTS, Driver
from walks import Walk

from astraea.errors import ContractError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Hints,
    JobCancelled,
    Outcome,
    SessionClosed,
    SharedPrefix,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)


def arrival(now, **changes):
    fields = {
        "now_us": now, "tenant": "ann", "session_id": "new", "job_id": "new", "turn_id": "new", "context_id": "new",
        "context_tokens": 4, "reusable_tokens": 0, "max_output_tokens": 2,
    }  # fmt: skip
    return TurnArrived(**(fields | changes))


def illegal_arrivals(driver):
    now, model = driver.now_us, driver.model
    yield "bad-number", arrival(now, context_tokens=0)
    yield "bad-number", arrival(now, reusable_tokens=-1)
    yield "bad-number", arrival(now, reusable_tokens=5)
    yield "bad-number", arrival(now, max_output_tokens=0)
    yield "bad-number", arrival(now, shared_prefix=SharedPrefix("tools", -1))
    for turn in model.turns.values():
        tenant, session, context = turn.context.name
        yield "turn-id-live", arrival(now, turn_id=turn.turn_id)
        if not turn.context.holding.closed:
            yield "context-busy", arrival(now, tenant=tenant, session_id=session, context_id=context)
    for tenant, job_id in model.jobs:
        yield "job-elsewhere", arrival(now, tenant=tenant, job_id=job_id)
        yield "job-elsewhere", arrival(now, tenant=tenant, job_id=job_id, hints=Hints(parent_job_id="nobody"))


def illegal_requests(driver):
    now, model = driver.now_us, driver.model
    yield "unknown-turn", TurnCancelled(now, "nobody")
    for turn_id, ends in model.ends.items():
        if ends or model.turns[turn_id].state == "stopping":
            yield "unknown-turn", TurnCancelled(now, turn_id)
    yield "unknown-job", JobCancelled(now, "ann", "nobody")
    for tenant, job_id in model.jobs:
        other = TENANTS[tenant == TENANTS[0]]
        if (other, job_id) not in model.jobs:
            yield "unknown-job", JobCancelled(now, other, job_id)
    yield "unknown-session", SessionClosed(now, "ann", "nobody")
    yield "no-tool-wait", ToolReturned(now, "ann", "nobody", "c0")
    for contexts in model.sessions.values():
        for context in contexts.values():
            tenant, session, name = context.name
            if not context.waits or context.returned:
                yield "no-tool-wait", ToolReturned(now, tenant, session, name)
            yield "no-tool-wait", ToolReturned(now, tenant, session, "nowhere")


def illegal_reports(driver):
    now, model = driver.now_us, driver.model
    known = {model.batch.batch_id} if model.batch else set()
    for batch_id in {0, -1, 10**9} | {1, 2, 3} - known - set(model.lost_batches):
        yield "unknown-batch", BatchDone(now, batch_id, 0)
        yield "unknown-batch", BatchOverdue(now, batch_id)
    for batch_id in model.lost_batches:
        yield "unknown-batch", BatchOverdue(now, batch_id)
    for op_id in (0, -1, 10**9):
        yield "unknown-swap", SwapDone(now, op_id)
        yield "unknown-swap", SwapOverdue(now, op_id)
    for op_id in set(model.copies) - set(model.copies_owed()):
        yield "unknown-swap", SwapOverdue(now, op_id)
    if model.batch is not None:
        yield from illegal_batches(driver, model.batch)


def illegal_batches(driver, batch):
    now, model, batch_id, most = driver.now_us, driver.model, batch.batch_id, batch.max_steps

    def done(steps, *ended):
        return BatchDone(now, batch_id, steps, ended)

    must_end = []
    yield "bad-steps", done(-1)
    yield "bad-steps", done(most + 1)
    yield "not-in-batch", done(0, TurnOutcome("nobody", Outcome.FAILED))
    for turn in model.turns.values():
        if turn.turn_id not in model.members:
            yield "not-in-batch", done(0, TurnOutcome(turn.turn_id, Outcome.FAILED))
    for turn_id, turn in model.members.items():
        failed = TurnOutcome(turn_id, Outcome.FAILED)
        yield "ended-twice", done(0, failed, failed)
        if turn.state == "stopping":
            continue
        tokens = {chunk.turn_id: chunk.tokens for chunk in batch.chunks}.get(turn_id, 0)
        yield "ended-unsampled", done(0, TurnOutcome(turn_id, Outcome.FINAL))
        for steps in {1, most}:
            sampled = turn.done + tokens * steps - turn.goal + 1
            if not tokens or sampled <= 0:
                yield "ended-unsampled", done(steps, TurnOutcome(turn_id, Outcome.FINAL))
            else:
                yield "tool-unnamed", done(steps, TurnOutcome(turn_id, Outcome.TOOL_CALL))
                yield "tool-unnamed", done(steps, TurnOutcome(turn_id, Outcome.TOOL_CALL, ""))
        if tokens and turn.sampled + max(0, turn.done + tokens * most - turn.goal + 1) >= turn.max_output:
            must_end.append(turn_id)
    if must_end:
        yield "over-maximum", done(most)


def illegal_events(driver):
    if driver.core.snapshot().now_us:
        yield "clock-backwards", Drain(driver.core.snapshot().now_us - 1)
        yield "clock-backwards", BatchDone(-1, 1, 0)
    yield from illegal_arrivals(driver)
    yield from illegal_requests(driver)
    yield from illegal_reports(driver)
    yield "unknown-event", type("Surprise", (), {"now_us": driver.now_us})()


class ProvokedDriver(Driver):
    """Throws every illegal event at the scheduler before each verb."""

    provoked: dict[str, int]

    def provoke(self):
        seen = self.__dict__.setdefault("provoked", {})
        before = self.core.snapshot()
        for rule, event in illegal_events(self):
            with pytest.raises(ContractError) as refusal:
                self.core.handle(event)
            assert refusal.value.rule == rule, f"INV-8: {event} is refused as {refusal.value}, not as {rule}"
            assert self.core.snapshot() == before, f"INV-8: {event} was refused and changed the scheduler"
            seen[rule] = seen.get(rule, 0) + 1

    def send(self, event, numbers=None):
        self.provoke()
        return super().send(event, numbers)

    def decide(self, pause=0):
        self.provoke()
        return super().decide(pause)


RULES = {
    "bad-number", "turn-id-live", "context-busy", "job-elsewhere", "unknown-turn", "unknown-job", "unknown-session",
    "no-tool-wait", "unknown-batch", "unknown-swap", "bad-steps", "not-in-batch", "ended-twice", "ended-unsampled",
    "tool-unnamed", "over-maximum", "clock-backwards", "unknown-event",
}  # fmt: skip


def test_inv_8_an_illegal_event_is_refused_and_leaves_no_trace_in_any_state():
    provoked = dict.fromkeys(RULES, 0)
    for seed in range(20):
        plain, bothered = Walk(seed), Walk(seed, driver=ProvokedDriver)
        plain.go(50)
        bothered.go(50)
        assert bothered.driver.log == plain.driver.log, f"INV-8: what was refused on walk {seed} changed a decision"
        for rule, count in bothered.driver.provoked.items():
            provoked[rule] += count
    print(sum(provoked.values()), "illegal events:", provoked)
    assert min(provoked.values()) > 0, f"some rules were never broken: {provoked}"


def test_decide_refuses_a_clock_that_runs_backwards():
    walk = Walk(3)
    walk.go(30)
    core, now = walk.driver.core, walk.driver.now_us
    core.decide(now)
    before = core.snapshot()
    with pytest.raises(ContractError, match="clock-backwards"):
        core.decide(now - 1)
    assert core.snapshot() == before


def test_the_log_of_a_walk_is_ordered_in_time():
    walk = Walk(5)
    walk.go(80)
    times = [entry if isinstance(entry, int) else getattr(entry, "now_us", None) for entry in walk.driver.log]
    assert all(a <= b for a, b in pairwise(t for t in times if t is not None))
