"""What the driver reports of the batch and the copies that it owed, in time or late.

One batch is in flight at a time. A report is checked whole before anything changes (INV-8). An overdue batch or copy
freezes what it may still be touching, ends or restarts the turns concerned, and is settled when its report comes.
"""

from __future__ import annotations

from attrs import define

from astraea.errors import ContractError
from astraea.events import BatchDone, BatchOverdue, Outcome, SwapDone, SwapOverdue
from astraea.policy.batching import Batching
from astraea.policy.copies import Copies
from astraea.policy.endings import Endings
from astraea.policy.kv import KvCaches
from astraea.policy.protocol import Policy
from astraea.policy.registry import Registry
from astraea.policy.running import Running
from astraea.policy.state import Holding, Turn
from astraea.policy.tables import KvState, TurnInput, TurnState
from astraea.policy.waiting import Waiting

__all__ = ["InFlight", "Reports"]


@define(slots=True, eq=False)
class InFlight:
    """The batch that is owed a report."""

    batch_id: int
    max_steps: int
    turns: dict[str, Turn]
    """The running turns by id, those without a chunk included."""


class Reports:
    """Settles reports; knows what is owed and what is overdue."""

    def __init__(
        self, *, policy: Policy, kv: KvCaches, copies: Copies, registry: Registry, waiting: Waiting, running: Running,
        batching: Batching, endings: Endings,
    ) -> None:  # fmt: skip
        self._policy = policy
        self._kv = kv
        self._copies = copies
        self._registry = registry
        self._waiting = waiting
        self._running = running
        self._batching = batching
        self._endings = endings
        self.in_flight: InFlight | None = None
        self.frozen: dict[int, list[tuple[Holding, Turn]]] = {}
        """Overdue batches: what they may still be computing on."""

    def expect(self, batch: InFlight | None) -> None:
        """Note which batch is owed a report now."""
        self.in_flight = batch
        self._endings.in_flight = batch.turns if batch is not None else {}

    def batch_done(self, event: BatchDone) -> bool:
        """Settle a batch; return whether anything changed beyond the steady progress of its turns."""
        frozen = self.frozen.pop(event.batch_id, None)
        if frozen is not None:
            for holding, turn in frozen:
                self._kv.batch_reported(holding, turn)
            return True
        flight = self._check_batch(event)
        self._batching.advance(event.steps)
        self._policy.steps_done(event.steps)
        self.expect(None)
        stopping = [turn for turn in flight.turns.values() if turn.state is TurnState.STOPPING]
        if not event.ended and not stopping:
            return False
        failed = {outcome.turn_id for outcome in event.ended if outcome.outcome is Outcome.FAILED}
        self._batching.settle(lost=failed, lost_steps=event.steps)
        for outcome in event.ended:
            turn = flight.turns[outcome.turn_id]
            if turn.state is TurnState.RUNNING:
                self._endings.report(turn, outcome, event.now_us)
        for turn in stopping:
            self._endings.stopped(turn, trusted=turn.turn_id not in failed)
        return True

    def _check_batch(self, event: BatchDone) -> InFlight:
        flight = self._owed_batch(event.batch_id)
        if not 0 <= event.steps <= flight.max_steps:
            raise ContractError("bad-steps", f"batch {event.batch_id} may run 0 to {flight.max_steps} steps")
        ended = {outcome.turn_id for outcome in event.ended}
        if len(ended) != len(event.ended):
            raise ContractError("ended-twice", "a turn is reported as ended twice")
        for outcome in event.ended:
            turn = flight.turns.get(outcome.turn_id)
            if turn is None:
                raise ContractError("not-in-batch", f"turn {outcome.turn_id!r} is not in batch {event.batch_id}")
            if outcome.outcome is Outcome.FAILED or turn.state is TurnState.STOPPING:
                continue
            if not event.steps or not self._batching.samples_after(turn, event.steps):
                raise ContractError("ended-unsampled", f"turn {outcome.turn_id!r} sampled no token in the last step")
            if outcome.outcome is Outcome.TOOL_CALL and not outcome.tool:
                raise ContractError("tool-unnamed", f"turn {outcome.turn_id!r} called a tool without a name")
        if event.steps == flight.max_steps:
            for turn in self._batching.at_maximum_after(event.steps):
                if turn.turn_id not in ended and turn.state is TurnState.RUNNING:
                    raise ContractError("over-maximum", f"turn {turn.turn_id!r} reached its maximum and must end")
        return flight

    def _owed_batch(self, batch_id: int) -> InFlight:
        flight = self.in_flight
        if flight is None or flight.batch_id != batch_id:
            raise ContractError("unknown-batch", f"batch {batch_id} is not owed")
        return flight

    def batch_overdue(self, event: BatchOverdue) -> None:
        """Fail the turns of a batch that was not reported in time, and freeze its blocks."""
        flight = self._owed_batch(event.batch_id)
        self._batching.settle(keep_blocks=True)
        self.expect(None)
        frozen = []
        for turn in flight.turns.values():
            frozen.append((self._kv.batch_overdue(turn), turn))
            self._running.remove(turn)
            turn.take(TurnInput.BATCH_OVERDUE)
            self._registry.forget_turn(turn)
        self.frozen[event.batch_id] = frozen
        for turn in flight.turns.values():
            if turn.state is TurnState.FAILED:
                turn.job.over = turn.job.failed = True
            self._registry.end_job_if_done(turn.job)
        self._endings.squeeze(event.now_us)

    def swap_done(self, event: SwapDone) -> None:
        """Settle a copy, in time or late."""
        op = self._copies.ops.get(event.op_id)
        if op is None:
            raise ContractError("unknown-swap", f"copy {event.op_id} is not owed")
        alive = op.holding.state is KvState.LEAVING or op.holding.state is KvState.RETURNING
        self._copies.end(op, failed=event.failed)
        if alive:
            happened = TurnInput.SWAP_FAILED if event.failed else TurnInput.SWAP_DONE
            self._turn_back(op.context.turn, happened, event.now_us)

    def swap_overdue(self, event: SwapOverdue) -> None:
        """Freeze what an overdue copy touches; the turn that waits for it starts anew."""
        op = self._copies.ops.get(event.op_id)
        if op is None or op.holding.state is KvState.QUARANTINED:
            raise ContractError("unknown-swap", f"copy {event.op_id} is not owed")
        self._copies.overdue(op)
        self._turn_back(op.context.turn, TurnInput.SWAP_OVERDUE, event.now_us)
        self._endings.squeeze(event.now_us)

    def _turn_back(self, turn: Turn | None, happened: TurnInput, now_us: int) -> None:
        """Let the turn whose context was copied go on from what the copy left."""
        if turn is None:
            return
        if turn.state is TurnState.RETURNING:
            turn.take(happened)
            if happened is TurnInput.SWAP_DONE:
                self._waiting.returned[turn.serial] = turn
        self._waiting.renew(turn, now_us)
