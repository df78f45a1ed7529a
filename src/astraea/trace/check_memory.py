"""What each context holds, as the decisions and reports of a trace say (INV-1, INV-3).

A decision gives blocks (``Dispatch`` and ``SwapIn`` those of the known tokens, or of the maximum after P preemptions;
``RunBatch`` those of all its steps, and to turns that it leaves out those of their known tokens, by rule 4); a report
or a ``DropCache`` takes them back. What an overdue report froze stays taken until it comes.
"""

from __future__ import annotations

from astraea.events import TurnArrived
from astraea.trace.check_blocks import Blocks
from astraea.trace.check_records import Batch, Context, Holding, Turn, broken

__all__ = ["Memory"]


class Memory(Blocks):
    """The caches of one run."""

    # What a turn needs

    def need_blocks(self, turn: Turn) -> int:
        """Return the free blocks that a waiting turn needs to be dispatched."""
        holding = turn.context.holding
        need = max(0, self.private(holding, self.reserve_tokens(turn)) - holding.device_blocks)
        prefix = holding.prefix
        if prefix is not None and prefix.ready_tokens < prefix.tokens:
            need += prefix.blocks - prefix.device_blocks
        return need

    def reserve_tokens(self, turn: Turn) -> int:
        """Return for how many tokens a dispatch reserves blocks."""
        return turn.max_tokens if turn.preemptions >= self.limits.preemptions_max else turn.goal_tokens

    def resident_tokens(self, holding: Holding) -> int:
        """Return the leading tokens that can be used on the device."""
        if holding.device_tokens or holding.prefix is None:
            return holding.device_tokens
        return holding.prefix.ready_tokens

    # Histories

    def arrived(self, event: TurnArrived, context: Context, *, is_new: bool) -> None:
        """Note what the prompt of an admitted turn shares with what its context holds."""
        shared, prefix = event.shared_prefix, context.holding.prefix
        if not is_new:
            named = prefix is not None and shared is not None and shared.prefix_id == prefix.prefix_id
            begins = max(event.reusable_tokens, shared.tokens if named and shared is not None else 0)
            self.edit_history(context, event.reusable_tokens, min(begins, event.context_tokens - 1))
        elif shared is not None:
            self.name_prefix(context, shared.prefix_id, min(shared.tokens, event.context_tokens - 1))

    def edit_history(self, context: Context, reusable_tokens: int, prefix_tokens: int) -> None:
        """Note what of the held history is still a prefix of the new prompt, and how much of its shared prefix."""
        holding = context.holding
        cap = holding.cap_tokens
        if holding.copy is not None:
            edited = cap is not None and holding.edited_in_copy
            holding.cap_prefix_tokens = min(holding.cap_prefix_tokens, prefix_tokens) if edited else prefix_tokens
            holding.edited_in_copy = True
        elif holding.prefix is not None and prefix_tokens < holding.prefix.tokens:
            self.forsake_prefix(context)
            holding.prefix = None
        holding.cap_tokens = reusable_tokens if cap is None else min(cap, reusable_tokens)

    def copy_settled(self, context: Context) -> None:
        """Take a context's shared prefix from it where its history was edited during a copy that has ended."""
        holding = context.holding
        if not holding.edited_in_copy:
            return
        holding.edited_in_copy = False
        if holding.prefix is not None and holding.cap_prefix_tokens < holding.prefix.tokens:
            self.forsake_prefix(context)
            holding.prefix = None

    @staticmethod
    def check_valid(holding: Holding, tokens: int, what: str) -> None:
        """Raise where the first ``tokens`` tokens reach beyond what is still a prefix (INV-3)."""
        cap = holding.cap_tokens
        if cap is None:
            return
        if holding.prefix is not None:
            cap = max(cap, holding.prefix.tokens)
        if tokens > cap:
            broken("INV-3", f"{what} {tokens} tokens of {holding.name}, of which only {cap} are still a prefix")

    # Running

    def dispatch(self, turn: Turn, start_tokens: int) -> None:
        """Give a dispatched turn its blocks; it may go on only from what the device holds (INV-3)."""
        holding = turn.context.holding
        if holding.copy is not None:
            broken("INV-3", f"turn {turn.turn_id!r} is dispatched while its cache is being copied")
        resident = self.resident_tokens(holding)
        if not 0 <= start_tokens <= resident:
            broken("INV-3", f"turn {turn.turn_id!r} starts from {start_tokens} tokens, {resident} are on the device")
        if start_tokens >= turn.goal_tokens:
            broken("INV-3", f"turn {turn.turn_id!r} starts from all its {turn.goal_tokens} tokens and computes none")
        self.check_valid(holding, start_tokens, f"turn {turn.turn_id!r} starts from")
        self.check_valid(holding, holding.host_tokens, "the host still holds")
        holding.cap_tokens = None
        self.hold_prefix(holding, turn)
        turn.reserved_tokens = self.reserve_tokens(turn)
        self.resize(holding, max(holding.device_blocks, self.private(holding, turn.reserved_tokens)))
        holding.device_tokens = start_tokens

    def run(self, batch: Batch) -> None:
        """Give the turns of a batch the blocks of all its steps; who has no chunk has those of its known tokens."""
        tokens = {chunk.turn_id: chunk.tokens * batch.max_steps for chunk in batch.chunks}
        for turn in batch.members.values():
            holding = turn.context.holding
            computed = tokens.get(turn.turn_id)
            upto = turn.goal_tokens if computed is None else holding.device_tokens + computed
            self.resize(holding, max(holding.device_blocks, self.private(holding, upto)))

    def progress(self, turn: Turn, tokens: int) -> None:
        """Note that a turn computed so many tokens, and take back what it was given for steps that did not run."""
        holding = turn.context.holding
        holding.device_tokens += tokens
        prefix = holding.prefix
        if prefix is not None and prefix.filler is turn:
            prefix.ready_tokens = min(prefix.tokens, holding.device_tokens)
            if prefix.ready_tokens == prefix.tokens:
                prefix.filler = None
        self.resize(holding, self.private(holding, max(holding.device_tokens, turn.reserved_tokens)))

    def end_run(self, turn: Turn, *, trusted: bool) -> None:
        """Leave to a context what its turn computed; of a closed one everything is still to be dropped."""
        holding = turn.context.holding
        turn.reserved_tokens = 0
        if holding.closed_line:
            self.let_go(holding.prefix, turn, trusted=trusted)
            self._expect_drop(holding)
            return
        if not trusted:
            holding.device_tokens = 0
        self.let_go(holding.prefix, turn, trusted=trusted)
        self.resize(holding, self.private(holding, holding.device_tokens))
        if not holding.device_blocks:
            holding.device_tokens = 0

    # Ends

    def close(self, context: Context, line: int, *, in_batch: bool) -> None:
        """Note that a context's session closed: what it holds is to be dropped, unless it is being worked on."""
        holding = context.holding
        holding.closed_line = line
        if not in_batch and holding.copy is None:
            self._expect_drop(holding)
        self.forsake_prefix(context)

    def _expect_drop(self, holding: Holding) -> None:
        holding.device_tokens = 0
        holding.host_tokens = 0
        if holding.device_blocks or holding.host_blocks:
            self.closing.append(holding)

    def give_up(self, holding: Holding) -> None:
        """Free all that a holding had."""
        self.resize(holding, 0)
        self.resize_host(holding, 0)
        holding.device_tokens = holding.host_tokens = 0

    def freeze(self, holding: Holding, filler: Turn | None) -> None:
        """Quarantine a holding whose report is overdue; its context starts anew with nothing."""
        holding.frozen = True
        self.quarantined += holding.device_blocks
        context, prefix = holding.context, holding.prefix
        if not holding.closed_line:
            context.holding = Holding(context, prefix)
            if holding.edited_in_copy and prefix is not None and holding.cap_prefix_tokens < prefix.tokens:
                self.forsake_prefix(context)
                context.holding.prefix = None
        if prefix is None:
            return
        if filler is not None and prefix.filler is filler:
            self.replace(prefix)
        else:
            holding.prefix = None  # what is overdue reads it and writes nothing there
            self.let_go(prefix, None, trusted=True)

    def thaw(self, holding: Holding) -> None:
        """Take a holding out of quarantine: its report came; it is given up."""
        self.quarantined -= holding.device_blocks
        self.give_up(holding)
