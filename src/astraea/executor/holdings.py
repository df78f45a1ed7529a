"""Where each context's KV stands: the addresses behind the scheduler's counts, on the device and on the host.

The scheduler decides how many blocks each holding has; here they get addresses, as late as possible and never more of
them than were counted. A context's table is the blocks of its shared prefix and then its own. What of it is a shared
prefix the scheduler says; whose tokens a prefix holds is in its id, which is a hash.
"""

from __future__ import annotations

from astraea.decisions import DropCache
from astraea.errors import InvariantError
from astraea.events import SharedPrefix
from astraea.executor.blocks import BlockPool
from astraea.executor.holding import Holding, SharedBlocks
from astraea.units import blocks_for

__all__ = ["Holdings"]


class Holdings:
    """All holdings of one engine."""

    def __init__(self, device: BlockPool, host: BlockPool | None) -> None:
        self.device = device
        self.host = host
        self._block_tokens = device.block_tokens
        self._sessions: dict[tuple[str, str], dict[str, Holding]] = {}
        self._dead: list[Holding] = []
        """Of closed sessions: each waits for the ``DropCache`` that names it."""
        self.prefixes: dict[tuple[str, str], SharedBlocks] = {}
        """Shared prefixes that have blocks."""

    def of(self, tenant: str, session_id: str, context_id: str) -> Holding:
        """Return the holding of a context, an empty one where it has none yet."""
        contexts = self._sessions.setdefault((tenant, session_id), {})
        holding = contexts.get(context_id)
        if holding is None:
            holding = contexts[context_id] = Holding((tenant, session_id, context_id))
        return holding

    @property
    def count(self) -> int:
        """Holdings that are known, those of closed sessions included."""
        return sum(map(len, self._sessions.values())) + len(self._dead)

    # Runs

    def bind(self, holding: Holding, shared: SharedPrefix | None, filler: object) -> None:
        """Let a holding begin with a shared prefix; one that is not ready gets blocks and is ``filler``'s to fill."""
        if shared is None:
            holding.prefix = None
            return
        key = holding.name[0], shared.prefix_id
        prefix = self.prefixes.get(key)
        if prefix is None:
            prefix = self.prefixes[key] = SharedBlocks(key, shared.tokens)
        if prefix.tokens != shared.tokens:
            raise InvariantError("INV-3", f"prefix {key} has {prefix.tokens} tokens and not {shared.tokens}")
        prefix.blocks += self.device.take(blocks_for(prefix.tokens, self._block_tokens) - len(prefix.blocks))
        if prefix.ready_tokens < prefix.tokens:
            prefix.filler = filler
        holding.prefix = prefix

    def hold(self, holding: Holding, tokens: int) -> None:
        """Give a holding exactly the blocks of its first ``tokens`` tokens."""
        wanted = self._own_blocks(holding, tokens)
        have = len(holding.blocks)
        if wanted > have:
            holding.blocks += self.device.take(wanted - have)
        elif wanted < have:
            self.device.give_back(holding.blocks[wanted:])
            del holding.blocks[wanted:]

    def _own_blocks(self, holding: Holding, tokens: int) -> int:
        shared = holding.prefix.tokens // self._block_tokens if holding.prefix is not None else 0
        return max(0, blocks_for(tokens, self._block_tokens) - shared)

    @staticmethod
    def filled(holding: Holding, done: int, filler: object) -> None:
        """Note that ``filler`` has computed the first ``done`` tokens of its context."""
        prefix = holding.prefix
        if prefix is not None and prefix.filler is filler:
            prefix.ready_tokens = min(prefix.tokens, done)
            if prefix.ready_tokens == prefix.tokens:
                prefix.filler = None

    def end_run(self, holding: Holding, done: int, filler: object, *, trusted: bool) -> None:
        """Take a turn off its blocks: what it computed stays, or nothing where it is not to be trusted."""
        self._let_go(holding, filler, trusted=trusted)
        if trusted:
            self._keep(holding, done)
        else:
            self._give_up_device(holding, trusted=False)

    def _keep(self, holding: Holding, tokens: int) -> None:
        self.hold(holding, tokens)
        holding.tokens = tokens if holding.blocks else 0

    def _let_go(self, holding: Holding, filler: object, *, trusted: bool) -> None:
        """Of a prefix that ``filler`` did not finish whole blocks stay, or nothing."""
        prefix = holding.prefix
        if prefix is None or prefix.filler is not filler:
            return
        prefix.filler = None
        whole = prefix.ready_tokens // self._block_tokens if trusted else 0
        self._cut_prefix(prefix, whole, trusted=trusted)

    def _cut_prefix(self, prefix: SharedBlocks, blocks: int, *, trusted: bool = True) -> None:
        self.device.give_back(prefix.blocks[blocks:], trusted=trusted)
        del prefix.blocks[blocks:]
        prefix.ready_tokens = min(prefix.ready_tokens, blocks * self._block_tokens)
        if not blocks and not prefix.replaced:
            self.prefixes.pop(prefix.key, None)

    def _give_up_device(self, holding: Holding, *, trusted: bool) -> None:
        self.device.give_back(holding.blocks, trusted=trusted)
        holding.blocks = []
        holding.tokens = 0

    # Drops

    def drop(self, decision: DropCache) -> None:
        """Forget what a ``DropCache`` names."""
        if decision.prefix_id:
            prefix = self.prefixes.get((decision.tenant, decision.prefix_id))
            if prefix is not None:
                self._cut_prefix(prefix, decision.keep_tokens // self._block_tokens)
            return
        holding = self._named(decision)
        if holding is None:
            return
        if decision.on_host:
            self._cut_host(holding, decision.keep_tokens)
        else:
            self._keep(holding, min(decision.keep_tokens, holding.tokens))
        if not holding.blocks and not holding.host and holding in self._dead:
            self._dead.remove(holding)

    def _named(self, decision: DropCache) -> Holding | None:
        """Return whose cache goes. A closed session's is dropped before one of the same name can hold anything."""
        name = decision.tenant, decision.session_id, decision.context_id
        for holding in self._dead:
            if holding.name == name and (holding.host if decision.on_host else holding.blocks):
                return holding
        return self._sessions.get(name[:2], {}).get(name[2])

    def _cut_host(self, holding: Holding, tokens: int) -> None:
        holding.host_tokens = min(holding.host_tokens, tokens)
        self.fit_host(holding, tokens)

    def fit_host(self, holding: Holding, tokens: int) -> None:
        """Give a holding exactly the host blocks of its first ``tokens`` tokens."""
        assert self.host is not None
        wanted = blocks_for(tokens, self._block_tokens)
        have = len(holding.host)
        if wanted > have:
            holding.host += self.host.take(wanted - have)
        elif wanted < have:
            self.host.give_back(holding.host[wanted:])
            del holding.host[wanted:]

    def close(self, tenant: str, session_id: str) -> None:
        """Let the holdings of a closed session belong to nobody; a ``DropCache`` or a copy's report frees each."""
        for holding in self._sessions.pop((tenant, session_id), {}).values():
            if holding.copying:
                holding.closed = True
            elif holding.blocks or holding.host:
                self._dead.append(holding)

    # Copies

    def left(self, holding: Holding, to_tokens: int, keep_tokens: int, *, failed: bool) -> None:
        """Settle a copy to the host."""
        holding.copying = False
        if holding.closed:
            self._free(holding, trusted=True)
        elif failed:
            self.fit_host(holding, holding.host_tokens)
        else:
            holding.host_tokens = to_tokens
            self._keep(holding, keep_tokens)

    def returned(self, holding: Holding, to_tokens: int, filler: object, *, failed: bool) -> None:
        """Settle a copy back from the host; one that failed leaves nothing on either side."""
        holding.copying = False
        if not failed:
            self.filled(holding, to_tokens, filler)
        self._let_go(holding, filler, trusted=not failed)
        if holding.prefix is not None and holding.prefix.replaced:
            self._cut_prefix(holding.prefix, 0, trusted=False)
        if failed or holding.closed:
            self._free(holding, trusted=False)
        else:
            holding.tokens = to_tokens if holding.blocks else 0

    def freeze(self, holding: Holding, filler: object | None) -> None:
        """Set apart what an overdue copy touches: its context, and a prefix that it fills, begin anew with nothing."""
        tenant, session_id, context_id = holding.name
        contexts = self._sessions.get((tenant, session_id), {})
        if contexts.get(context_id) is holding:
            contexts[context_id] = Holding(holding.name)
        holding.closed = True
        prefix = holding.prefix
        if prefix is not None and prefix.filler is filler and filler is not None:
            prefix.replaced = True
            del self.prefixes[prefix.key]
        else:
            holding.prefix = None

    def _free(self, holding: Holding, *, trusted: bool) -> None:
        self._give_up_device(holding, trusted=trusted)
        if self.host is not None:
            self.fit_host(holding, 0)
        holding.host_tokens = 0
