"""Shared prefixes: system prompts and tool definitions whose KV several contexts of one tenant use together.

A prefix is held once and counted. Only running turns and copies in flight *hold* it; a waiting or idle context merely
names it, so its KV can be evicted once no context has private tokens behind it. The first turn that needs it *fills*
it; others wait for that turn. The tenant is part of the key, so nothing is ever shared across tenants (INV-3).
"""

from __future__ import annotations

from astraea.decisions import Because, Decision, DropCache
from astraea.policy.ledger import Ledger
from astraea.policy.state import Context, Holding, Prefix, Turn

__all__ = ["Prefixes"]


class Prefixes:
    """All shared prefixes of one engine."""

    def __init__(self, ledger: Ledger, out: list[Decision]) -> None:
        self._ledger = ledger
        self._out = out
        self.by_key: dict[tuple[str, str], Prefix] = {}
        self.frozen: dict[Prefix, None] = {}
        """Replaced prefixes whose report is still owed."""

    def name(self, context: Context, prefix_id: str, tokens: int) -> None:
        """Let a new context begin with a prefix of ``tokens`` tokens; less than a block is not worth sharing.

        Where the prefix is known to be longer than these tokens, the context goes without: it would write its own
        tokens into blocks that others read.
        """
        blocks = tokens // self._ledger.block_tokens
        if not blocks:
            return
        key = (context.session.tenant, prefix_id)
        prefix = self.by_key.get(key)
        if prefix is None:
            prefix = self.by_key[key] = Prefix(*key, blocks * self._ledger.block_tokens, blocks)
        elif prefix.blocks > blocks:
            return
        prefix.users[context] = None
        context.holding.prefix = prefix

    def forsake(self, context: Context) -> None:
        """Note that a context is gone."""
        prefix = context.holding.prefix
        if prefix is not None:
            prefix.users.pop(context, None)
            self._forget_if_unused(prefix)

    def hold(self, prefix: Prefix, filler: Turn | None) -> None:
        """Pin a prefix for a running turn or a copy; one that is not ready is filled by ``filler``."""
        prefix.holders += 1
        self._ledger.unpark(prefix)
        if not prefix.ready:
            prefix.filler = filler
            self._ledger.resize_prefix(prefix, prefix.tokens)

    def let_go(self, prefix: Prefix, filler: Turn | None, *, trusted: bool) -> None:
        """Unpin a prefix; of an unfinished filling whole blocks stay, or nothing where it is not to be trusted."""
        prefix.holders -= 1
        ledger = self._ledger
        if prefix.replaced:  # it was being filled, so its filler is its only holder
            ledger.quarantine(-prefix.device_blocks)
            ledger.resize_prefix(prefix, 0)
            del self.frozen[prefix]
            return
        if filler is not None and prefix.filler is filler:
            prefix.filler = None
            whole = prefix.ready_tokens - prefix.ready_tokens % ledger.block_tokens if trusted else 0
            prefix.ready_tokens = whole
            ledger.resize_prefix(prefix, whole)
        ledger.settle_prefix(prefix)
        self._forget_if_unused(prefix)

    def release(self, holding: Holding) -> None:
        """Unpin the prefix of a holding that is frozen: what is overdue reads it and writes nothing there."""
        prefix = holding.prefix
        assert prefix is not None
        holding.prefix = None
        prefix.holders -= 1
        prefix.dependents -= holding.device_blocks > 0
        self._ledger.settle_prefix(prefix)
        self._forget_if_unused(prefix)

    def freeze(self, prefix: Prefix) -> None:
        """Quarantine a prefix whose filling is overdue and let its contexts begin anew with an empty one."""
        del self.by_key[prefix.tenant, prefix.prefix_id]
        users, prefix.users = prefix.users, {}
        for context in users:
            context.holding.prefix = None
            self.name(context, prefix.prefix_id, prefix.tokens)
        prefix.replaced = True
        prefix.filler = None
        self.frozen[prefix] = None
        self._ledger.quarantine(prefix.device_blocks)

    def cut(self, prefix: Prefix, blocks: int, because: Because) -> int:
        """Drop the last ``blocks`` blocks of an evictable prefix; return how many became free."""
        ledger = self._ledger
        keep_tokens = max(0, prefix.device_blocks - blocks) * ledger.block_tokens
        prefix.ready_tokens = min(prefix.ready_tokens, keep_tokens)
        freed = ledger.resize_prefix(prefix, keep_tokens)
        where = (prefix.tenant, "", "", prefix.prefix_id)
        self._out.append(DropCache(*where, on_host=False, keep_tokens=keep_tokens, kv_blocks=freed, because=because))
        ledger.settle_prefix(prefix)
        self._forget_if_unused(prefix)
        return freed

    def _forget_if_unused(self, prefix: Prefix) -> None:
        if not (prefix.users or prefix.device_blocks or prefix.holders):
            self.by_key.pop((prefix.tenant, prefix.prefix_id), None)
