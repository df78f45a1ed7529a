"""A real scheduler, driven by a toy engine: recorded, judged, replayed, and the same digest at any step size."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest
from attrs import define, evolve

from astraea.decisions import Because, Chunk, DropCache, Hold, Reason, Refuse, RunBatch, SwapIn, SwapOut, WakeAt
from astraea.events import BatchDone, Outcome, SessionClosed, SharedPrefix, SwapDone, TurnArrived, TurnOutcome
from astraea.policy.astraea import LearningPolicy
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits
from astraea.trace import RunDigest, check_trace, explain_turn, read_trace, replay, to_perfetto
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, EventEntry, TraceHeader
from astraea.trace.recorder import TraceRecorder

LIMITS = Limits(device_blocks=40, host_blocks=20, block_tokens=4, step_tokens_max=24, batch_turns_max=6, bypass_max=6)
STEP_US = 1_000
COPY_US = 2_700


@define
class Planned:
    """A turn that a job will have, and what the scheduler must not know of it."""

    event: TurnArrived
    output: int
    wait_us: int
    held: int = 0
    sampled: int = 0


def planned_jobs(seed):
    """Some jobs as queues of turns: each turn's prompt is the last context and something new."""
    dice = random.Random(seed)
    jobs = []
    for number in range(24):
        now_us, context, job = dice.randrange(150_000), 0, deque()
        shared = SharedPrefix("tools", 12) if number % 3 == 0 else None
        for index in range(dice.randrange(1, 6)):
            prompt, output = context + dice.randrange(14, 30), dice.randrange(1, 12)
            event = TurnArrived(
                now_us, "t", f"s{number}", f"j{number}", f"t{number}.{index}", "main", prompt,
                max(0, context - dice.choice([0, 0, 9])), output + dice.randrange(3), shared,
            )  # fmt: skip
            job.append(Planned(event, output, dice.randrange(500, 40_000)))
            context = prompt + output
        jobs.append(job)
    return jobs


class ToyEngine:
    """Runs batches on a virtual clock: the next thing that happens is an arrival, a copy's end or a step's end."""

    def __init__(self, jobs, core, recorder, steps_max):
        self.core, self.recorder, self.steps_max = core, recorder, steps_max
        self.now_us = 0
        self.jobs = {job[0].event.job_id: job for job in jobs}
        self.arrivals = {job[0].event.job_id: job[0].event.now_us for job in jobs}
        self.turns = {}
        self.copies = {}
        self.batch, self.began_us, self.ends_us, self.wake_us = None, 0, 0, None

    def run(self):
        while self.arrivals or self.turns:
            if self.batch is None:
                self.decide()
            if not self.arrivals and not self.turns:
                return  # the last one was refused
            ends_us = [] if self.batch is None else [self.ends_us]
            happens_us = min([*self.arrivals.values(), *self.copies.values(), *ends_us])
            if self.batch is None and self.wake_us is not None and self.now_us < self.wake_us < happens_us:
                self.now_us = self.wake_us
                continue
            self.now_us = happens_us
            self.report()

    def _reported_us(self):
        """When the batch is to be reported: after the step in which a turn ends or something else happens."""
        steps = min(self.batch.max_steps, self.steps_max)
        while steps > 1 and any(sampled > turn.output for turn, sampled in self._after(steps)):
            steps -= 1
        interrupts = [*self.arrivals.values(), *self.copies.values()]
        interrupts += [self.wake_us] if self.wake_us is not None and self.wake_us > self.began_us else []
        for at_us in interrupts:
            steps = min(steps, max(1, -(-(at_us - self.began_us) // STEP_US)))
        return self.began_us + steps * STEP_US

    def _after(self, steps):
        for chunk in self.batch.chunks:
            turn = self.turns[chunk.turn_id]
            over = turn.held + chunk.tokens * steps - turn.event.context_tokens - turn.sampled + 1
            yield turn, turn.sampled + max(0, over)

    def report(self):
        for op_id in [op_id for op_id, at_us in self.copies.items() if at_us == self.now_us]:
            del self.copies[op_id]
            self.happened(SwapDone(self.now_us, op_id))
        for job_id in [job_id for job_id, at_us in self.arrivals.items() if at_us == self.now_us]:
            turn = self.jobs[job_id].popleft()
            del self.arrivals[job_id]
            self.turns[turn.event.turn_id] = turn
            self.happened(evolve(turn.event, now_us=self.now_us))
        if self.batch is not None and self.now_us == self.ends_us:
            self.stepped()

    def decide(self):
        decisions = self.core.decide(self.now_us)
        self.recorder.decided(self.now_us, decisions)
        for decision in decisions:
            match decision:
                case RunBatch():
                    self.batch, self.began_us = decision, self.now_us
                    for dispatch in decision.dispatched:
                        self.turns[dispatch.turn_id].held = dispatch.start_tokens
                case SwapOut() | SwapIn():
                    self.copies[decision.op_id] = self.now_us + COPY_US
                case WakeAt():
                    self.wake_us = decision.at_us
                case Refuse():
                    del self.turns[decision.turn_id]
        if self.batch is not None:
            self.ends_us = self._reported_us()

    def stepped(self):
        steps = (self.now_us - self.began_us) // STEP_US
        ended = []
        for turn, sampled in list(self._after(steps)):
            turn.sampled = sampled
            if sampled == turn.output:
                ended.append(turn)
        for chunk in self.batch.chunks:
            self.turns[chunk.turn_id].held += chunk.tokens * steps
        outcomes = tuple(TurnOutcome(turn.event.turn_id, *self._outcome(turn)) for turn in ended)
        self.happened(BatchDone(self.now_us, self.batch.batch_id, steps, outcomes))
        self.batch = None
        for turn in ended:
            del self.turns[turn.event.turn_id]
            if self.jobs[turn.event.job_id]:
                self.arrivals[turn.event.job_id] = self.now_us + turn.wait_us

    def _outcome(self, turn):
        goes_on = self.jobs[turn.event.job_id]
        return (Outcome.TOOL_CALL, f"tool{len(goes_on)}") if goes_on else (Outcome.FINAL, None)

    def happened(self, event):
        self.core.handle(event)
        self.recorder.event(event)


def recorded(path, seed, steps_max=1_000, limits=LIMITS):
    core = Scheduler(limits)
    with TraceRecorder(path, limits, "astraea", guarded=core.policy.guarded, blocking=core.policy.blocking) as recorder:
        ToyEngine(planned_jobs(seed), core, recorder, steps_max).run()
    return read_trace(path)


def make_policy(name, limits):
    assert name == "astraea"
    return LearningPolicy(limits)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return list(recorded(tmp_path_factory.mktemp("trace") / "run.ndjson", 1))


def test_a_run_is_judged_clean(run):
    report = check_trace(run)
    assert report.ok, report.breach
    assert report.complete
    assert report.jobs == 24
    assert report.turns_admitted == report.turns_ended > 40
    assert report.turns_live == 0
    assert report.device_blocks_peak > 30, "the pool was under pressure"
    assert report.host_blocks_peak > 0
    assert report.worst_bypass <= report.bypass_max


def test_a_run_replays_to_the_same_digest(run):
    result = replay(run, make_policy)
    assert result.same, result.first_difference
    assert result.digest == result.recorded_digest == check_trace(run).digest
    assert (result.events, result.decisions) == (run[-1].events, run[-1].decisions)


@pytest.mark.parametrize("steps_max", [1, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_steps_at_once_or_one_at_a_time_have_one_digest(tmp_path, seed, steps_max):
    at_once = list(recorded(tmp_path / "a", seed))
    single = list(recorded(tmp_path / "b", seed, steps_max))
    assert len(single) > len(at_once)
    assert check_trace(single).breach is None
    assert check_trace(single).digest == check_trace(at_once).digest


def test_every_turn_can_be_explained_and_all_can_be_drawn(run):
    turns = [e.event.turn_id for e in run if isinstance(e, EventEntry) and isinstance(e.event, TurnArrived)]
    for turn_id in turns:
        assert "ended" in explain_turn(run, turn_id)[-1]
    lanes = {}
    for event in to_perfetto(run)["traceEvents"]:
        if event["ph"] == "X":
            lanes.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert len(lanes) == 24
    for spans in lanes.values():
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


# Replays that differ


def with_decision(entries, index, decision):
    changed = list(entries)
    changed[index] = DecisionEntry(entries[index].line, decision)
    return changed


def test_a_changed_decision_is_named(run):
    index = next(i for i, e in enumerate(run) if isinstance(e, DecisionEntry) and isinstance(e.decision, RunBatch))
    batch = run[index].decision
    other = evolve(batch, chunks=(*batch.chunks, Chunk("z", 1)))
    result = replay(with_decision(run, index, other), make_policy)
    assert not result.same
    assert result.first_difference.line == run[index].line
    assert '["z",1]' in result.first_difference.sentence
    assert result.recorded_digest is None


def test_a_missing_and_an_invented_decision_are_named(run):
    index = next(i for i, e in enumerate(run) if isinstance(e, DecisionEntry))
    missing = replay([*run[:index], *run[index + 1 :]], make_policy).first_difference
    assert missing is not None
    last = run[-2]
    assert isinstance(last, EventEntry | DecideEntry)
    invented = DecisionEntry(last.line, Hold("a", Because(Reason.NO_ROOM)))
    at_the_end = [*run[:-1], DecideEntry(last.line, last.event.now_us), invented, run[-1]]
    found = replay(at_the_end, make_policy).first_difference
    assert "nothing is decided now" in found.sentence


def test_an_event_or_a_decide_that_is_refused_now_is_named(run):
    first = next(e for e in run if isinstance(e, EventEntry))
    twice = [run[0], first, first]
    assert "is refused now: turn-id-live" in str(replay(twice, make_policy).first_difference)
    back = [run[0], first, DecideEntry(3, -1)]
    assert "line 3: decide was answered, and is refused now: clock" in str(replay(back, make_policy).first_difference)


def test_a_wrong_digest_is_named_and_a_trace_that_was_cut_off_is_not_blamed(run):
    wrong = [*run[:-1], EndEntry(run[-1].line, "0" * 64, 0, 0)]
    assert "the recorded digest is 000" in replay(wrong, make_policy).first_difference.sentence
    for length in (2, len(run) // 2, len(run) // 2 + 1, len(run) // 2 + 2, len(run) - 1):
        cut = replay(run[:length], make_policy)
        assert cut.same, cut.first_difference
        assert cut.recorded_digest is None


def test_an_empty_run_has_a_digest_too():
    header = TraceHeader(1, "astraea", LIMITS, guarded=True)
    result = replay([header, EndEntry(2, RunDigest().hexdigest(), 0, 0)], make_policy)
    assert result.same
    assert (result.events, result.decisions) == (0, 0)


def test_a_turn_that_the_step_leaves_out_has_its_next_block_all_the_same():
    """Room is told to be short by the scheduler, and the judge must count it so: else a fair Hold is a breach."""
    limits = Limits(device_blocks=10, block_tokens=1, step_tokens_max=1, steps_max=1)
    core = Scheduler(limits)
    entries = [TraceHeader(1, "astraea", limits, core.policy.guarded, core.policy.blocking)]

    def handle(event):
        core.handle(event)
        entries.append(EventEntry(len(entries) + 1, event))

    def arrive(name, turn, prompt, reusable, most):
        handle(TurnArrived(0, "t", name, name, turn, "c", prompt, reusable, most))

    def decide():
        decisions = core.decide(0)
        entries.append(DecideEntry(len(entries) + 1, 0))
        entries.extend(DecisionEntry(len(entries) + 1 + i, decision) for i, decision in enumerate(decisions))
        return decisions

    arrive("a", "a1", 1, 0, 1)
    decide()
    handle(BatchDone(0, 1, 1, (TurnOutcome("a1", Outcome.TOOL_CALL, "tool"),)))
    arrive("b", "b1", 1, 0, 4)
    decide()
    handle(BatchDone(0, 2, 1))
    arrive("a", "a2", 2, 1, 3)
    arrive("c", "c1", 7, 0, 1)
    *held, batch = decide()
    assert [chunk.turn_id for chunk in batch.chunks] == ["a2"]
    assert [(hold.turn_id, hold.because.reason) for hold in held] == [("c1", Reason.NO_ROOM)]
    handle(SessionClosed(0, "t", "b"))
    handle(BatchDone(0, 3, 0))
    dropped = [decision.kv_blocks for decision in decide() if isinstance(decision, DropCache)]
    assert dropped == [2]
    decide()  # what was decided before is judged now
    assert check_trace(entries).breach is None
