"""Copies and drops in a trace: what each takes and gives back (INV-1), and that nothing in use is touched (INV-3)."""

from __future__ import annotations

from astraea.decisions import DropCache, SwapIn, SwapOut
from astraea.errors import ContractError
from astraea.policy.tables import TurnState
from astraea.trace.check_memory import Memory
from astraea.trace.check_records import Context, Copy, Holding, Session, Turn, broken

__all__ = ["Copies"]

_COMPUTED = (TurnState.RUNNING, TurnState.STOPPING)


class Copies:
    """The copies that are owed a report, and the evictions."""

    def __init__(self, memory: Memory, sessions: dict[tuple[str, str], Session]) -> None:
        self._memory = memory
        self._sessions = sessions
        self.owed: dict[int, Copy] = {}

    @property
    def under_way(self) -> bool:
        """Whether a copy is owed that is not overdue."""
        return any(not copy.holding.frozen for copy in self.owed.values())

    # Copies

    def begin_out(self, decision: SwapOut) -> None:
        """Check a ``SwapOut`` and take its host blocks."""
        holding = self._idle(decision.tenant, decision.session_id, decision.context_id, "SwapOut").holding
        if not decision.from_tokens <= holding.host_tokens or decision.to_tokens > holding.device_tokens:
            held = f"the host holds {holding.host_tokens}, the device {holding.device_tokens}"
            broken("INV-3", f"SwapOut copies [{decision.from_tokens}, {decision.to_tokens}) of {holding.name}; {held}")
        self._own(Copy(decision.op_id, holding, None, decision.to_tokens, decision.keep_tokens))
        self._memory.resize_host(holding, self._memory.limits.blocks_for(decision.to_tokens))
        self._memory.hold_prefix(holding, None)

    def begin_in(self, decision: SwapIn, turn: Turn) -> None:
        """Check a ``SwapIn`` and take the device blocks of its turn."""
        memory, context = self._memory, turn.context
        holding = context.holding
        if holding.copy is not None:
            broken("INV-3", f"SwapIn of {holding.name}, which is being copied already")
        if (decision.tenant, decision.session_id, decision.context_id) != (
            context.tenant, context.session_id, context.context_id,
        ):  # fmt: skip
            broken("INV-2", f"SwapIn for turn {turn.turn_id!r} names another context than its own")
        resident = memory.resident_tokens(holding)
        if decision.from_tokens > resident or decision.to_tokens > holding.host_tokens:
            held = f"the device holds {resident}, the host {holding.host_tokens}"
            broken("INV-3", f"SwapIn copies [{decision.from_tokens}, {decision.to_tokens}) of {holding.name}; {held}")
        memory.check_valid(holding, decision.to_tokens, "SwapIn brings back")
        copy = Copy(decision.op_id, holding, turn, decision.to_tokens, 0)
        self._own(copy)
        copy.fills_prefix = memory.hold_prefix(holding, turn)
        blocks = memory.private(holding, memory.reserve_tokens(turn))
        memory.resize(holding, max(holding.device_blocks, blocks))

    def _own(self, copy: Copy) -> None:
        if copy.op_id in self.owed:
            broken("INV-2", f"copy {copy.op_id} is owed already")
        self.owed[copy.op_id] = copy
        copy.holding.copy = copy

    def copy_of(self, op_id: int) -> Copy:
        """Return the copy that a report names."""
        copy = self.owed.get(op_id)
        if copy is None:
            raise ContractError("unknown-swap", f"copy {op_id} is not owed")
        return copy

    def done(self, copy: Copy, *, failed: bool) -> None:
        """Settle a reported copy."""
        memory, holding = self._memory, copy.holding
        del self.owed[copy.op_id]
        holding.copy = None
        prefix = holding.prefix
        if prefix is not None and copy.fills_prefix and not failed and prefix.filler is copy.turn:
            prefix.ready_tokens = prefix.tokens
        memory.let_go(prefix, copy.turn, trusted=not failed)
        if holding.frozen:
            memory.thaw(holding)
        elif holding.closed_line:
            memory.give_up(holding)
        else:
            if copy.turn is None:
                self._out_done(copy, failed=failed)
            else:
                self._in_done(copy, copy.turn, failed=failed)
            memory.copy_settled(holding.context)

    def _in_done(self, copy: Copy, turn: Turn, *, failed: bool) -> None:
        memory, holding = self._memory, copy.holding
        if failed:
            memory.give_up(holding)
            return
        holding.device_tokens = copy.to_tokens
        if holding.context.turn is not turn:
            memory.resize(holding, memory.private(holding, copy.to_tokens))
        self._empty_if_nothing(holding)

    def _out_done(self, copy: Copy, *, failed: bool) -> None:
        memory, holding = self._memory, copy.holding
        if failed:
            memory.resize_host(holding, memory.limits.blocks_for(holding.host_tokens))
            return
        holding.host_tokens = copy.to_tokens
        holding.device_tokens = copy.keep_tokens
        memory.resize(holding, memory.private(holding, copy.keep_tokens))
        self._empty_if_nothing(holding)

    @staticmethod
    def _empty_if_nothing(holding: Holding) -> None:
        if not holding.device_blocks:
            holding.device_tokens = 0

    def overdue(self, copy: Copy) -> None:
        """Quarantine what an overdue copy touches."""
        if copy.holding.frozen:
            raise ContractError("unknown-swap", f"copy {copy.op_id} is overdue already")
        self._memory.freeze(copy.holding, copy.turn if copy.fills_prefix else None)

    # Drops

    def drop(self, decision: DropCache) -> None:
        """Check a ``DropCache`` and free its blocks."""
        if decision.prefix_id:
            self._drop_prefix(decision)
            return
        closed = self._closed(decision)
        if closed is not None:
            self._shrink(closed, decision)
            if not (closed.device_blocks or closed.host_blocks):
                self._memory.closing.remove(closed)
            return
        key = (decision.tenant, decision.session_id, decision.context_id)
        context = self._context(*key) if decision.on_host else self._idle(*key, "DropCache")
        holding = context.holding
        if holding.copy is not None:
            broken("INV-3", f"DropCache of {holding.name}, which is being copied")
        self._shrink(holding, decision)

    def _shrink(self, holding: Holding, decision: DropCache) -> None:
        memory, keep = self._memory, decision.keep_tokens
        held = holding.host_blocks if decision.on_host else holding.device_blocks
        left = held - decision.kv_blocks
        needs = memory.limits.blocks_for(keep) if decision.on_host else memory.private(holding, keep)
        reserved = not decision.on_host and held > memory.private(holding, holding.device_tokens)
        if decision.kv_blocks < 0 or left < needs or (left > needs and not reserved):
            where = "on the host" if decision.on_host else "on the device"
            numbers = f"frees {decision.kv_blocks} of its {held} blocks {where}, and keeps {keep} tokens in {needs}"
            broken("INV-1", f"DropCache of {holding.name} {numbers}")
        if decision.on_host:
            memory.resize_host(holding, left)
            holding.host_tokens = min(keep, holding.host_tokens)
        else:
            memory.resize(holding, left)
            holding.device_tokens = min(keep, holding.device_tokens) if left else 0

    def _drop_prefix(self, decision: DropCache) -> None:
        memory = self._memory
        prefix = memory.prefixes.get((decision.tenant, decision.prefix_id))
        if prefix is None:
            broken("INV-1", f"DropCache of prefix {decision.prefix_id!r}, which is not held")
        if prefix.holders:
            broken("INV-3", f"DropCache of prefix {decision.prefix_id!r}, which {prefix.holders} turns or copies need")
        before = prefix.device_blocks
        memory.resize_prefix(prefix, decision.keep_tokens)
        prefix.ready_tokens = min(prefix.ready_tokens, decision.keep_tokens)
        if before - prefix.device_blocks != decision.kv_blocks:
            freed = f"frees {before - prefix.device_blocks} blocks and says {decision.kv_blocks}"
            broken("INV-1", f"DropCache of prefix {decision.prefix_id!r} {freed}")
        memory.forget_if_unused(prefix)

    def _closed(self, decision: DropCache) -> Holding | None:
        """Return the holding of a closed session that a drop names; a new session of that name holds nothing yet."""
        for holding in self._memory.closing:
            context = holding.context
            key = (context.tenant, context.session_id, context.context_id)
            blocks = holding.host_blocks if decision.on_host else holding.device_blocks
            if blocks and key == (decision.tenant, decision.session_id, decision.context_id):
                return holding
        return None

    def _context(self, tenant: str, session_id: str, context_id: str) -> Context:
        session = self._sessions.get((tenant, session_id))
        context = session.contexts.get(context_id) if session is not None else None
        if context is None:
            broken("INV-2", f"context {context_id!r} of session {session_id!r} is not known")
        return context

    def _idle(self, tenant: str, session_id: str, context_id: str, what: str) -> Context:
        """Return a context whose device KV is not being computed on or copied."""
        context = self._context(tenant, session_id, context_id)
        if context.turn is not None and context.turn.state in _COMPUTED:
            broken("INV-3", f"{what} of {context.holding.name}, whose turn {context.turn.turn_id!r} is running")
        if context.holding.copy is not None:
            broken("INV-3", f"{what} of {context.holding.name}, which is being copied")
        return context
