"""What happens to the caches of contexts: each verb moves one holding by its table and the ledger with it.

A verb does what it is told; which cache to evict, and for whom, is decided in ``safety.py`` and ``admission.py``. Every
change that the executor must carry out is appended to ``out`` as a decision.
"""

from __future__ import annotations

from astraea.decisions import Because, Decision, DropCache, Reason
from astraea.policy.ledger import Ledger
from astraea.policy.prefixes import Prefixes
from astraea.policy.state import Context, Holding, Turn
from astraea.policy.tables import IN_COPY, KvInput, KvState

__all__ = ["KvCaches"]

_ENDED = Because(Reason.ENDED)
_STALE = Because(Reason.STALE)


class KvCaches:
    """The holdings of all contexts of one engine."""

    def __init__(self, ledger: Ledger, prefixes: Prefixes, out: list[Decision]) -> None:
        self.ledger = ledger
        self.prefixes = prefixes
        self.out = out

    @staticmethod
    def resident_tokens(context: Context) -> int:
        """Return how many leading tokens of the context can be used on the device as they stand."""
        holding = context.holding
        if holding.device_tokens or holding.prefix is None:
            return holding.device_tokens
        return holding.prefix.ready_tokens

    # Eviction

    def edit_history(self, context: Context, reusable_tokens: int, prefix_tokens: int) -> None:
        """Forget what lies beyond the part of the history that is still a prefix of the new prompt.

        A prompt that begins with only ``prefix_tokens`` tokens of a longer shared prefix gives the sharing up: it would
        write its own tokens into blocks that others read (INV-3).
        """
        holding, prefix = context.holding, context.holding.prefix
        if holding.state in IN_COPY:
            cap = holding.cap_tokens
            holding.cap_prefix_tokens = prefix_tokens if cap is None else min(holding.cap_prefix_tokens, prefix_tokens)
            holding.cap_tokens = reusable_tokens if cap is None else min(cap, reusable_tokens)
            return
        if reusable_tokens < holding.device_tokens:
            self.cut_device(context, reusable_tokens, _STALE)
        if reusable_tokens < holding.host_tokens:
            self.cut_host(context, reusable_tokens, _STALE)
        if prefix is not None and prefix_tokens < prefix.tokens:
            self.prefixes.forsake(context)
            holding.prefix = None

    def cut_device(self, context: Context, keep_tokens: int, because: Because) -> int:
        """Drop device KV beyond ``keep_tokens``, reserved blocks included; return the blocks that became free."""
        holding, ledger = context.holding, self.ledger
        blocks = ledger.private_blocks(holding, keep_tokens)
        freed = ledger.resize(holding, blocks)
        if blocks:
            holding.device_tokens = min(keep_tokens, holding.device_tokens)
        else:
            self._leave_device(context)
        self._dropped(context, holding.device_tokens, freed, because, on_host=False)
        return freed

    def cut_tail(self, context: Context, blocks: int, because: Because) -> int:
        """Drop the last ``blocks`` private device blocks of a context; return how many became free."""
        return self.cut_device(context, self.tokens_without_tail(context.holding, blocks), because)

    def tokens_without_tail(self, holding: Holding, blocks: int) -> int:
        """Return how many tokens the device keeps when the last ``blocks`` private blocks go."""
        left = holding.device_blocks - blocks
        if left <= 0:
            return 0
        base = holding.prefix.blocks if holding.prefix is not None else 0
        return (base + left) * self.ledger.block_tokens

    def cut_host(self, context: Context, keep_tokens: int, because: Because) -> int:
        """Drop the host copy beyond ``keep_tokens``; return the host blocks that became free."""
        holding, ledger = context.holding, self.ledger
        freed = ledger.resize_host(holding, ledger.limits.blocks_for(keep_tokens))
        holding.host_tokens = keep_tokens
        if not keep_tokens:
            ledger.host_copies.pop(holding, None)
            holding.take(KvInput.DROP_HOST)
        self._dropped(context, keep_tokens, freed, because, on_host=True)
        return freed

    def touch_host(self, context: Context) -> None:
        """Note that a context's host copy was made or used: it is given up last."""
        copies = self.ledger.host_copies
        copies.pop(context.holding, None)
        copies[context.holding] = context

    def _leave_device(self, context: Context) -> None:
        holding = context.holding
        holding.device_tokens = 0
        holding.take(KvInput.EMPTY_TO_HOST if holding.host_tokens else KvInput.EMPTY)
        self.ledger.unpark(context)

    def _dropped(self, context: Context, keep: int, freed: int, because: Because, *, on_host: bool) -> None:
        session = context.session
        self.out.append(
            DropCache(session.tenant, session.session_id, context.context_id, "", on_host, keep, freed, because)
        )

    # Running

    def begin_run(self, turn: Turn, reserve_tokens: int) -> int:
        """Give a turn that is dispatched its blocks; return the tokens that it holds already."""
        context, ledger = turn.context, self.ledger
        holding = context.holding
        start = min(self.resident_tokens(context), turn.goal_tokens - 1)
        if context.cache_serial:
            ledger.unpark(context)
        if holding.prefix is not None:
            self.prefixes.hold(holding.prefix, turn)
        holding.take(KvInput.ALLOCATE)
        ledger.grow(holding, reserve_tokens)
        holding.device_tokens = start
        if holding.host_tokens:
            self.touch_host(context)
        return start

    def progress(self, turn: Turn, tokens: int, *, keep_blocks: bool = False) -> None:
        """Note that a running turn computed ``tokens`` more tokens, and free blocks that it was given too early.

        ``keep_blocks``: free none, for a batch that nobody reported may still be writing to them.
        """
        holding, ledger = turn.context.holding, self.ledger
        done = holding.device_tokens = holding.device_tokens + tokens
        prefix = holding.prefix
        if prefix is not None and prefix.filler is turn:
            prefix.ready_tokens = min(prefix.tokens, done)
            if prefix.ready:
                prefix.filler = None
        if not keep_blocks:
            ledger.resize(holding, ledger.private_blocks(holding, max(done, turn.reserved_tokens)))

    def end_run(self, turn: Turn, *, trusted: bool) -> None:
        """Take a turn that stopped running off its blocks; what it computed becomes an evictable cache."""
        context, ledger = turn.context, self.ledger
        holding = context.holding
        if not trusted:
            holding.device_tokens = 0
        if holding.prefix is not None:
            self.prefixes.let_go(holding.prefix, turn, trusted=trusted)
        blocks = ledger.private_blocks(holding, holding.device_tokens)
        ledger.resize(holding, blocks)
        if blocks:
            ledger.park(context)
        else:
            self._leave_device(context)
        if not trusted and holding.host_tokens:
            self.cut_host(context, 0, _ENDED)

    def batch_overdue(self, turn: Turn) -> Holding:
        """Freeze what an overdue batch computes on for this turn; its context starts anew with nothing."""
        context = turn.context
        holding = context.holding
        alive = holding.state is KvState.DEVICE
        holding.take(KvInput.BATCH_OVERDUE)
        self.ledger.quarantine(holding.device_blocks)
        self.start_anew(context, filler=turn, alive=alive)
        return holding

    def batch_reported(self, holding: Holding, turn: Turn) -> None:
        """Free what an overdue batch had frozen: it is reported after all."""
        self.ledger.quarantine(-holding.device_blocks)
        if holding.prefix is not None:
            self.prefixes.let_go(holding.prefix, turn, trusted=False)
        holding.take(KvInput.BATCH_DONE)
        self.free(holding)

    def start_anew(self, context: Context, filler: Turn | None, *, alive: bool) -> None:
        """Give a context whose holding was frozen an empty one, and its prefix too where the filling was frozen."""
        frozen = context.holding
        self.ledger.host_copies.pop(frozen, None)
        prefix = frozen.prefix
        if alive:
            context.holding = Holding(prefix)
            if frozen.cap_tokens is not None:
                self.edit_history(context, frozen.cap_tokens, frozen.cap_prefix_tokens)
        if prefix is None:
            return
        if filler is not None and prefix.filler is filler:
            self.prefixes.freeze(prefix)
        else:
            self.prefixes.release(frozen)

    # Ends

    def close(self, context: Context, *, in_batch: bool) -> None:
        """Give up the caches of a context whose session closed."""
        holding, ledger = context.holding, self.ledger
        ledger.unpark(context)
        ledger.host_copies.pop(holding, None)
        holding.take(KvInput.CLOSE_IN_BATCH if in_batch else KvInput.CLOSE)
        if holding.state is KvState.GONE:
            self._give_up(context)
        self.prefixes.forsake(context)

    def bury(self, turn: Turn, *, trusted: bool) -> None:
        """Free a holding whose session closed while the engine computed on it: the batch is reported."""
        holding = turn.context.holding
        if holding.prefix is not None:
            self.prefixes.let_go(holding.prefix, turn, trusted=trusted)
        holding.take(KvInput.BATCH_DONE)
        self._give_up(turn.context)

    def _give_up(self, context: Context) -> None:
        holding = context.holding
        blocks, host_blocks = holding.device_blocks, holding.host_blocks
        self.free(holding)
        if blocks:
            self._dropped(context, 0, blocks, _ENDED, on_host=False)
        if host_blocks:
            self._dropped(context, 0, host_blocks, _ENDED, on_host=True)

    def free(self, holding: Holding) -> None:
        """Free every private block of a holding."""
        self.ledger.resize(holding, 0)
        self.ledger.resize_host(holding, 0)
        holding.device_tokens = 0
        holding.host_tokens = 0
