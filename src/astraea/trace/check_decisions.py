"""The decisions of a trace, judged one by one: each must be legal for the turns and caches as they stand."""

from __future__ import annotations

from typing import assert_never

from astraea.decisions import (
    Decision,
    DropCache,
    Hold,
    Preempt,
    Reason,
    Refuse,
    RunBatch,
    SwapIn,
    SwapOut,
    WakeAt,
)
from astraea.policy.tables import TurnInput, TurnState
from astraea.trace.check_bypass import Bypasses
from astraea.trace.check_records import WANTING_ROOM, Batch, Turn, broken
from astraea.trace.check_reports import Reports

__all__ = ["Decisions"]


class Decisions:
    """Applies decisions to the state that the reports left."""

    def __init__(self, state: Reports, bypasses: Bypasses) -> None:
        self._state = state
        self._bypasses = bypasses
        self.running: dict[str, Turn] = {}
        """Turns in the batch, in order of dispatch."""
        self.unblocked: list[Turn] = []
        """Turns that this ``decide`` places although their last Hold says that room was wanting."""
        self.worst_preemptions = 0
        self._batch_ids = 0

    def begin(self) -> None:
        """Begin a ``decide``: leave out of the running turns those that events have ended."""
        self._bypasses.begin()
        self.unblocked = []
        self.running = {name: turn for name, turn in self.running.items() if turn.state is TurnState.RUNNING}

    def decided(self, decision: Decision, line: int) -> None:
        """Judge a decision and apply it; raise where it breaks a claim."""
        state = self._state
        state.line = line
        match decision:
            case RunBatch():
                self._run(decision, line)
            case SwapOut():
                state.copies.begin_out(decision)
            case SwapIn():
                self._swap_in(decision)
            case DropCache():
                state.copies.drop(decision)
            case Preempt():
                self._preempt(decision)
            case Hold():
                self._hold(decision)
            case Refuse():
                self._refused(decision)
            case WakeAt():
                pass
            case _:
                assert_never(decision)

    def end(self) -> None:
        """Judge what can be judged only when all decisions of a ``decide`` are known."""
        fault = self._bypasses.end()
        if fault is not None:
            self._state.line, sentence = fault
            broken("LIVE-1", sentence)

    # Batches

    def _run(self, decision: RunBatch, line: int) -> None:
        state, limits = self._state, self._state.limits
        if state.batch is not None:
            owed = state.batch
            broken(
                "INV-4", f"batch {decision.batch_id} is decided while batch {owed.batch_id} of line {owed.line} is owed"
            )
        if decision.batch_id <= self._batch_ids:
            broken("INV-4", f"batch_id {decision.batch_id} was given before")
        self._batch_ids = decision.batch_id
        for dispatch in decision.dispatched:
            self._dispatch(dispatch.turn_id, dispatch.start_tokens)
        if len(self.running) > limits.batch_turns_max:
            broken("LIMITS", f"{len(self.running)} turns run; batch_turns_max is {limits.batch_turns_max}")
        if not 1 <= decision.max_steps <= limits.steps_max:
            broken("LIMITS", f"max_steps {decision.max_steps} is not between 1 and steps_max, {limits.steps_max}")
        self._check_chunks(decision)
        state.batch = Batch(decision.batch_id, line, decision.chunks, decision.max_steps, dict(self.running))
        state.memory.run(state.batch)

    def _dispatch(self, turn_id: str, start_tokens: int) -> None:
        state = self._state
        turn = state.jobs.turn(turn_id, "dispatched")
        state.jobs.move(turn, TurnInput.DISPATCH, state.line)
        self._placed(turn)
        state.memory.dispatch(turn, start_tokens)
        self.running[turn_id] = turn
        self._bypasses.dispatched(turn)

    def _check_chunks(self, decision: RunBatch) -> None:
        if not decision.chunks:
            broken("INV-6", f"batch {decision.batch_id} computes nothing")
        tokens, seen = 0, set()
        for chunk in decision.chunks:
            turn = self.running.get(chunk.turn_id)
            if turn is None:
                turn = self._state.jobs.turn(chunk.turn_id, "computed")
                broken("INV-2", f"turn {chunk.turn_id!r} is computed while it is {turn.state}")
            if chunk.turn_id in seen:
                broken("INV-4", f"turn {chunk.turn_id!r} has two chunks in batch {decision.batch_id}")
            seen.add(chunk.turn_id)
            tokens += chunk.tokens
            self._check_chunk(turn, chunk.tokens, decision.max_steps)
        if tokens > self._state.limits.step_tokens_max:
            broken(
                "LIMITS", f"a step computes {tokens} tokens; step_tokens_max is {self._state.limits.step_tokens_max}"
            )

    @staticmethod
    def _check_chunk(turn: Turn, tokens: int, steps: int) -> None:
        """A chunk computes known tokens only, except that one token a step goes on to what it samples."""
        known = turn.goal_tokens - turn.context.holding.device_tokens
        if tokens < 1 or (tokens > 1 and tokens * steps > known):
            broken("INV-4", f"turn {turn.turn_id!r} computes {tokens} tokens in {steps} steps, {known} are known")
        sampled = turn.sampled + max(0, tokens * steps - known + 1)
        if sampled > turn.max_output_tokens:
            limit = f"max_output_tokens is {turn.max_output_tokens}"
            broken("INV-4", f"turn {turn.turn_id!r} would have sampled {sampled} tokens after {steps} steps; {limit}")

    # One turn

    def _placed(self, turn: Turn) -> None:
        if turn.held in WANTING_ROOM:
            self.unblocked.append(turn)
        turn.held = None

    def _swap_in(self, decision: SwapIn) -> None:
        state = self._state
        turn = state.jobs.turn(decision.turn_id, "brought back")
        state.jobs.move(turn, TurnInput.SWAP_IN, state.line)
        self._placed(turn)
        state.copies.begin_in(decision, turn)
        self._bypasses.returned(turn, state.line)

    def _preempt(self, decision: Preempt) -> None:
        state = self._state
        turn = state.jobs.turn(decision.turn_id, "preempted")
        if state.batch is not None:
            broken("INV-3", f"turn {turn.turn_id!r} is preempted while batch {state.batch.batch_id} computes it")
        bound = state.limits.preemptions_max
        if turn.preemptions >= bound:
            broken("LIVE-3", f"turn {turn.turn_id!r} is preempted once more after {turn.preemptions} of {bound} times")
        state.jobs.move(turn, TurnInput.PREEMPT, state.line)
        for other in self.running.values():
            later = (other.job.arrival, other.serial) > (turn.job.arrival, turn.serial)
            if later and other.preemptions < bound:
                broken("LIVE-3", f"turn {turn.turn_id!r} is preempted before {other.turn_id!r}, which arrived later")
        del self.running[turn.turn_id]
        turn.preemptions += 1
        turn.held = None
        self.worst_preemptions = max(self.worst_preemptions, turn.preemptions)
        state.memory.end_run(turn, trusted=True)

    def _hold(self, decision: Hold) -> None:
        turn = self._state.jobs.turn(decision.turn_id, "held back")
        if not turn.waits:
            broken("INV-2", f"turn {turn.turn_id!r} is held back while it is {turn.state}")
        turn.held = decision.because.reason
        if turn.held is Reason.TENANT_KV and self._state.limits.tenant_kv_blocks_max is None:
            broken("INV-6", f"turn {turn.turn_id!r} is held back for a cap of its tenant, and there is none")

    def _refused(self, decision: Refuse) -> None:
        """Judge a refusal that no arrival and no quarantine explained."""
        if not self._state.refusals.get(decision.turn_id):
            return
        turn = self._state.jobs.turn(decision.turn_id, "refused")
        blocks, usable = self._state.limits.blocks_for(turn.max_tokens), self._state.memory.usable
        numbers = f"its {blocks} blocks fit in the {usable} that are usable"
        broken("INV-4", f"turn {turn.turn_id!r} was admitted at line {turn.line} and is refused; {numbers}")
