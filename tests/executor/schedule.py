"""Drives an engine through the dialogues in any order, and believes nothing of what it says."""

from __future__ import annotations

import io
import json
import random
import tempfile
from pathlib import Path

import torch
from dialogues import DIALOGUES, TOOLS, TURNS, answer, max_output, prompt, tiny, where

from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.swap import ThreadCopier
from astraea.policy.limits import EngineCosts, Limits, Tuning
from astraea.rivals import policy_names
from astraea.trace.check import check_trace
from astraea.trace.reader import TraceReader

SWAP_OVERDUE_US = 25_000
SPOILS = ("pass", "logits", "memory")
SPOILT = "this pass is spoilt"
FAILURES = {
    f"RuntimeError: {SPOILT}",
    "the model's logits are not finite",
    "OutOfMemoryError: one token of one turn does not fit",
}
PAUSES_US = (0, 1, 700, SWAP_OVERDUE_US + 1, 2_000_000)


class ManualCopier(ThreadCopier):
    """Makes a copy when it is told to, or spoils what it was to write."""

    def __init__(self, device, host):
        self._device, self._host = device, host
        self.waiting = []
        self.ended = []

    def begin(self, op_id, moves, *, to_host):
        self.waiting.append((op_id, moves, to_host))

    def finish(self, choice, *, failed):
        op_id, moves, to_host = self.waiting.pop(choice % len(self.waiting))
        if failed:
            target = (self._host if to_host else self._device).tensor
            for move in moves:
                target[move.target, :, move.first_slot :] = float("nan")
        else:
            self.copy(moves, to_host=to_host)
        self.ended.append((op_id, failed))

    def has_news(self):
        return bool(self.ended)

    def reported(self):
        ended, self.ended = self.ended, []
        return ended

    def wait(self, timeout_s):
        pass

    def close(self):
        pass


def random_limits(rng):
    """Pools so tiny that every rule is in force at once."""
    block = rng.choice([1, 4, 4, 16])
    blocks = rng.randint(150, 260) // block
    return Limits(
        device_blocks=blocks,
        host_blocks=rng.choice([0, blocks // 2, blocks, 3 * blocks, 3 * blocks]),
        block_tokens=block,
        step_tokens_max=rng.choice([2, 3, 8, 64, 2048]),
        batch_turns_max=rng.randint(1, 5),
        steps_max=rng.choice([1, 4, 16, 1024]),
        bypass_max=rng.randint(0, 6),
        preemptions_max=rng.randint(0, 2),
        growth_ahead_steps=rng.choice([1, 4, 32]),
        costs=EngineCosts(swap_ns_per_token=rng.choice([1, 100, 5_243, 1_000_000])),
        tuning=Tuning(keep_tenths=rng.choice([0, 35, 1000]), prior_tool_wait_us=rng.choice([1, 1_000_000])),
    )


class Schedule:
    """One engine, its dialogues and a clock that only moves when told."""

    totals: dict[str, int] = {}  # noqa: RUF012 - counts over all schedules of a process, to see what was reached

    def __init__(self, seed, engine=Engine):
        rng = random.Random(seed)
        self.limits = random_limits(rng)
        self.clock_us = 0
        self.trace = io.StringIO()
        self.declares = rng.random() < 0.5
        self.engine = engine(
            tiny(),
            self.limits,
            policy=rng.choice(policy_names()),
            record=self.trace,
            clock=lambda: self.clock_us,
            swap_overdue_us=SWAP_OVERDUE_US,
            copier=self._copier,
        )
        self.copier = getattr(self, "copier", None)
        self._failed = 0
        self._spoil_next = None
        model = self.engine._model  # noqa: SLF001 - its passes are to go wrong
        model.forward = self._spoilt(model.forward)
        self.turn = [0] * DIALOGUES
        self.answers = [None] * DIALOGUES
        self.told = []
        self.turn_ids = 0

    def _copier(self, device, host, news):
        self.copier = ManualCopier(device, host)
        return self.copier

    def _spoilt(self, forward):
        def maybe_spoilt(batch, tokens, sampling):
            kind, self._spoil_next = self._spoil_next, None
            if kind == "memory":
                raise torch.OutOfMemoryError("no memory")
            logits = forward(batch, tokens, sampling)
            if kind == "pass":
                batch._token_rows[batch._writes.reshape(-1)] = float("nan")  # noqa: SLF001 - all that it wrote
                raise RuntimeError(SPOILT)
            if kind == "logits" and len(logits):
                logits = logits.clone()
                logits[-1] = float("nan")
            return logits

        return maybe_spoilt

    # Moves

    def send(self, dialogue):
        """Send a dialogue's next turn, unless one is live."""
        if self.answers[dialogue] is not None and self.answers[dialogue].finish is None:
            return
        tenant, session, context = where(dialogue)
        turn = self.turn[dialogue]
        self.turn_ids += 1
        request = TurnRequest(
            tenant=tenant,
            session_id=session,
            job_id=f"j{self.turn_ids}",
            turn_id=f"t{self.turn_ids}",
            context_id=context,
            prompt=prompt(dialogue, turn),
            max_output_tokens=max_output(dialogue, turn),
            shared_prefix_tokens=(9 if tenant == "ann" else 22) if self.declares else None,
            tool_of=lambda _: TOOLS[turn],
        )
        self.answers[dialogue] = self.engine.submit(request)
        self.told.append((dialogue, turn, self.answers[dialogue]))

    def step(self, rounds=1):
        for _ in range(rounds):
            self.clock_us += 1_000
            self.engine.step()
            self._look()

    def _look(self):
        for dialogue, answered in enumerate(self.answers):
            if answered is not None and answered.finish in {Finish.STOP, Finish.LENGTH}:
                self.turn[dialogue] = (self.turn[dialogue] + 1) % TURNS
                self.answers[dialogue] = None
        wake_us = self.engine._work.wake_us  # noqa: SLF001 - nobody else sees it
        assert wake_us is None or wake_us > self.clock_us, "a time that has passed would stop every batch at once"
        # The engine may use fewer blocks than were counted, and never more.
        view = self.engine.snapshot()
        holdings = self.engine.holdings
        assert holdings.device.free_blocks >= view.device_free
        # The host copy of a turn that failed goes with a decision, which comes in the next round.
        failed = sum(told.finish is Finish.FAILED for _, _, told in self.told)
        if holdings.host is not None and failed == self._failed:
            assert holdings.host.free_blocks >= view.host_free
        self._failed = failed

    def cancel(self, dialogue):
        if self.answers[dialogue] is not None:
            self.engine.cancel(self.answers[dialogue].request.turn_id)

    def cancel_job(self, dialogue):
        if self.answers[dialogue] is not None:
            request = self.answers[dialogue].request
            self.engine.cancel_job(request.tenant, request.job_id)

    def close(self, dialogue):
        self.engine.close_session(*where(dialogue)[:2])
        for other in (dialogue, dialogue ^ 1):
            self.turn[other] = 0

    def tool_returns(self, dialogue):
        self.engine.tool_returned(*where(dialogue))

    def pause(self, choice):
        self.clock_us += PAUSES_US[choice % len(PAUSES_US)]

    def spoil(self, choice):
        """Let the next pass of the model go wrong."""
        self._spoil_next = SPOILS[choice % len(SPOILS)]

    def copy_ends(self, choice, *, failed=False):
        if self.copier is not None and self.copier.waiting:
            self.copier.finish(choice, failed=failed)

    # The end

    def finish(self):
        """Let everything end, and check every answer, every block and the trace."""
        for _ in range(3_000):
            if self.engine.is_idle:
                break
            self.copy_ends(0)
            self.step()
        assert self.engine.is_idle, f"{self.engine.live_turns} turns never end"
        for dialogue in range(0, DIALOGUES, 2):
            self.close(dialogue)
        self.step(2)
        self.check_answers()
        self.check_memory()
        self.engine.close()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.ndjson"
            path.write_text(self.trace.getvalue(), encoding="utf-8")
            report = check_trace(TraceReader(path))
        assert report.breach is None, report.breach
        self.count()

    def check_answers(self):
        for dialogue, turn, told in self.told:
            expected = answer(dialogue, turn)
            if told.finish is Finish.LENGTH:
                assert tuple(told.tokens) == expected, f"dialogue {dialogue}, turn {turn}"
            else:
                if told.finish is Finish.REFUSED:
                    assert told.error == "never_fits"
                elif told.finish is Finish.FAILED:
                    assert told.error in FAILURES
                else:
                    assert told.finish is Finish.CANCELLED, f"{told.finish}: {told.error}"
                assert tuple(told.tokens) == expected[: len(told.tokens)], f"dialogue {dialogue}, turn {turn}"

    def check_memory(self):
        holdings = self.engine.holdings
        shared = sum(len(prefix.blocks) for prefix in holdings.prefixes.values())
        assert holdings.device.free_blocks + shared == self.limits.device_blocks
        assert not holdings.count
        if holdings.host is not None:
            assert holdings.host.free_blocks == self.limits.host_blocks

    def count(self):
        """Note what kinds of events, decisions and ends there were."""
        for line in self.trace.getvalue().splitlines():
            record = json.loads(line)
            kind = record.get("decision") or record.get("event") or "other"
            if kind == "SwapDone" and record.get("failed"):
                kind = "SwapDone, failed"
            Schedule.totals[kind] = Schedule.totals.get(kind, 0) + 1
        for _, _, told in self.told:
            Schedule.totals[told.finish] = Schedule.totals.get(told.finish, 0) + 1


def play(moves, seed, engine=Engine):
    """Make moves, each ``(kind, choice)``, and let everything end."""
    schedule = Schedule(seed, engine)
    for kind, choice in moves:
        match kind:
            case 0:
                schedule.send(choice % DIALOGUES)
            case 1:
                schedule.step(1 + choice % 4)
            case 2:
                schedule.copy_ends(choice)
            case 3:
                schedule.cancel(choice % DIALOGUES)
            case 4:
                schedule.close(choice % DIALOGUES)
            case 5:
                schedule.tool_returns(choice % DIALOGUES)
            case 6:
                schedule.pause(choice)
            case 7:
                schedule.copy_ends(choice, failed=True)
            case 8:
                schedule.cancel_job(choice % DIALOGUES)
            case 9:
                schedule.spoil(choice)
    schedule.finish()
    return schedule


WEIGHTS = (24, 30, 12, 2, 1, 3, 4, 4, 1, 2)


def random_moves(seed, count):
    """Moves as a seeded generator draws them."""
    rng = random.Random(f"moves {seed}")
    return [(kind, rng.randrange(64)) for kind in rng.choices(range(len(WEIGHTS)), WEIGHTS, k=count)]
