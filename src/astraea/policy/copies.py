"""Copies between device and host: begun by a decision, ended by a report, and what lies between.

The host copy of a context is a leading part of it, its shared prefix included, so that it is usable on its own. A
``SwapOut`` copies what the host does not have yet and frees the device's tail when the report arrives; a ``SwapIn``
takes the blocks of its turn's whole prompt at once, so that the bytes have somewhere to go. A report that does not
come quarantines both sides until it does.
"""

from __future__ import annotations

from astraea.decisions import Because, Reason, SwapIn, SwapOut
from astraea.policy.kv import KvCaches
from astraea.policy.state import Context, SwapOp, Turn
from astraea.policy.tables import KvInput, KvState

__all__ = ["Copies"]


class Copies:
    """The copies of one engine that are owed a report, overdue ones included."""

    def __init__(self, kv: KvCaches) -> None:
        self._kv = kv
        self._ledger = kv.ledger
        self.ops: dict[int, SwapOp] = {}
        self._next_op = 1

    @property
    def owed(self) -> bool:
        """Whether a copy is under way that is not overdue."""
        return any(op.holding.state is not KvState.QUARANTINED for op in self.ops.values())

    @property
    def promised_blocks(self) -> int:
        """Device blocks that come free when the copies under way to the host are reported."""
        ledger = self._ledger
        return sum(
            op.holding.device_blocks - ledger.private_blocks(op.holding, op.keep_tokens)
            for op in self.ops.values()
            if op.holding.state is KvState.LEAVING
        )

    def begin_out(self, context: Context, evict_blocks: int, because: Because) -> int:
        """Copy a context to the host and then free its last ``evict_blocks`` blocks; return how many will be."""
        holding, ledger = context.holding, self._ledger
        keep = min(holding.device_tokens, self._kv.tokens_without_tail(holding, evict_blocks))
        op = self._new(context, None, holding.host_tokens, holding.device_tokens, keep)
        ledger.resize_host(holding, ledger.limits.blocks_for(holding.device_tokens))
        ledger.host_copies.pop(holding, None)
        if holding.prefix is not None:
            self._kv.prefixes.hold(holding.prefix, None)
        holding.take(KvInput.SWAP_OUT)
        ledger.unpark(context)
        where = (context.session.tenant, context.session.session_id, context.context_id)
        self._kv.out.append(SwapOut(op.op_id, *where, op.from_tokens, op.to_tokens, keep, because))
        return holding.device_blocks - ledger.private_blocks(holding, keep)

    def begin_in(self, turn: Turn, reserve_tokens: int, because: Because) -> None:
        """Copy the host copy of a waiting turn's context back, with room for the whole turn."""
        context, ledger = turn.context, self._ledger
        holding = context.holding
        start = self._kv.resident_tokens(context)
        op = self._new(context, turn, start, min(holding.host_tokens, turn.goal_tokens - 1), 0)
        prefix = holding.prefix
        if prefix is not None:
            op.fills_prefix = not prefix.ready
            self._kv.prefixes.hold(prefix, turn)
        holding.take(KvInput.SWAP_IN)
        ledger.host_copies.pop(holding, None)
        ledger.unpark(context)
        ledger.resize(holding, max(holding.device_blocks, ledger.private_blocks(holding, reserve_tokens)))
        where = (context.session.tenant, context.session.session_id, context.context_id)
        self._kv.out.append(SwapIn(op.op_id, turn.turn_id, *where, start, op.to_tokens, because))

    def _new(self, context: Context, turn: Turn | None, start: int, end: int, keep: int) -> SwapOp:
        op = SwapOp(self._next_op, context, context.holding, turn, start, end, keep)
        self.ops[op.op_id] = op
        self._next_op += 1
        return op

    def end(self, op: SwapOp, *, failed: bool) -> None:
        """Settle a reported copy, whatever became of its holding meanwhile."""
        del self.ops[op.op_id]
        holding = op.holding
        prefix = holding.prefix
        if prefix is not None:
            if op.fills_prefix and not failed and prefix.filler is op.turn:
                prefix.ready_tokens = prefix.tokens
            self._kv.prefixes.let_go(prefix, op.turn, trusted=not failed)
        if holding.state is KvState.LEAVING:
            self._end_out(op, failed=failed)
        elif holding.state is KvState.RETURNING:
            self._end_in(op, failed=failed)
        else:
            if holding.state is KvState.QUARANTINED:
                self._ledger.quarantine(-holding.device_blocks)
            holding.take(KvInput.SWAP_FAILED if failed else KvInput.SWAP_DONE)
            self._kv.free(holding)

    def _end_out(self, op: SwapOp, *, failed: bool) -> None:
        holding, ledger = op.holding, self._ledger
        if failed:
            holding.take(KvInput.SWAP_FAILED)
            ledger.resize_host(holding, ledger.limits.blocks_for(holding.host_tokens))
            # What was to be freed is freed, or else a host that takes no copy would have them tried for ever.
            self._kv.cut_device(op.context, op.keep_tokens, Because(Reason.DEMAND, (("failed_copy", op.op_id),)))
        else:
            holding.host_tokens = op.to_tokens
            blocks = ledger.private_blocks(holding, op.keep_tokens)
            holding.device_tokens = op.keep_tokens if blocks else 0
            ledger.resize(holding, blocks)
            holding.take(KvInput.SWAP_DONE if blocks else KvInput.SWAP_DONE_EMPTY)
        self._settle(op.context)

    def _end_in(self, op: SwapOp, *, failed: bool) -> None:
        holding, ledger = op.holding, self._ledger
        if failed:
            holding.take(KvInput.SWAP_FAILED)
            self._kv.free(holding)
        else:
            holding.take(KvInput.SWAP_DONE)
            holding.device_tokens = op.to_tokens
            turn = op.context.turn
            if turn is not op.turn or turn is None:
                ledger.resize(holding, ledger.private_blocks(holding, op.to_tokens))
        self._settle(op.context)

    def _settle(self, context: Context) -> None:
        """Let a context be evicted again, and apply an edit of its history that came during the copy."""
        holding = context.holding
        if holding.state is KvState.DEVICE:
            self._ledger.park(context)
        if holding.host_tokens:
            self._kv.touch_host(context)
        cap, holding.cap_tokens = holding.cap_tokens, None
        if cap is not None:
            self._kv.edit_history(context, cap, holding.cap_prefix_tokens)

    def overdue(self, op: SwapOp) -> None:
        """Freeze what an overdue copy touches; its context starts anew with nothing."""
        holding, context = op.holding, op.context
        holding.take(KvInput.SWAP_OVERDUE)
        self._ledger.quarantine(holding.device_blocks)
        alive = context.holding is holding and context.session.contexts.get(context.context_id) is context
        self._kv.start_anew(context, op.turn if op.fills_prefix else None, alive=alive)
