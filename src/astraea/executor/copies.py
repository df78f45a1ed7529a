"""Carries out ``SwapOut`` and ``SwapIn``, and tells the scheduler what became of them: in time, failed, or overdue."""

from __future__ import annotations

from attrs import define

from astraea.decisions import SwapIn, SwapOut
from astraea.events import SwapDone, SwapOverdue
from astraea.executor.holding import Holding
from astraea.executor.holdings import Holdings
from astraea.executor.swap import Copier, moves_of
from astraea.executor.verbs import Verbs

__all__ = ["Copies"]


@define(eq=False)
class _Copy:
    order: SwapOut | SwapIn
    holding: Holding
    begun_us: int
    overdue: bool = False


class Copies:
    """The copies of one engine that are under way."""

    def __init__(self, verbs: Verbs, holdings: Holdings, copier: Copier, overdue_us: int) -> None:
        """A copy that takes longer than ``overdue_us`` is given up: its context begins anew."""
        self._verbs = verbs
        self._holdings = holdings
        self._copier = copier
        self._overdue_us = overdue_us
        self._under_way: dict[int, _Copy] = {}

    @property
    def under_way(self) -> int:
        """Copies that are not reported, overdue ones included."""
        return len(self._under_way)

    @property
    def has_news(self) -> bool:
        """Whether a copy has ended and is not reported."""
        return self._copier.has_news()

    def begin(self, order: SwapOut | SwapIn) -> None:
        """Begin a copy that was decided."""
        holdings = self._holdings
        holding = holdings.of(order.tenant, order.session_id, order.context_id)
        copy = _Copy(order, holding, self._verbs.now_us())
        if isinstance(order, SwapOut):
            holdings.fit_host(holding, order.to_tokens)
            source, target = holding.table, holding.host
        else:
            holdings.bind(holding, self._verbs.core.shared_prefix_of(order.turn_id), copy)
            holdings.hold(holding, order.to_tokens)
            source, target = holding.host, holding.table
        holding.copying = True
        self._under_way[order.op_id] = copy
        moves = moves_of(source, target, (order.from_tokens, order.to_tokens), holdings.device.block_tokens)
        self._copier.begin(order.op_id, moves, to_host=isinstance(order, SwapOut))

    def report(self) -> bool:
        """Tell the scheduler which copies ended and which take too long; return whether there were any."""
        ended = self._copier.reported()
        for op_id, failed in ended:
            copy = self._under_way.pop(op_id)
            self._verbs.handle(SwapDone(self._verbs.now_us(), op_id, failed))
            if isinstance(copy.order, SwapOut):
                order = copy.order
                self._holdings.left(copy.holding, order.to_tokens, order.keep_tokens, failed=failed)
            else:
                self._holdings.returned(copy.holding, copy.order.to_tokens, copy, failed=failed)
        return self._give_up_overdue() or bool(ended)

    def _give_up_overdue(self) -> bool:
        now_us = self._verbs.now_us()
        late = [c for c in self._under_way.values() if not c.overdue and now_us - c.begun_us > self._overdue_us]
        for copy in late:
            self._verbs.handle(SwapOverdue(now_us, copy.order.op_id))
            self._holdings.freeze(copy.holding, copy)
            copy.overdue = True
        return bool(late)

    def wait(self, timeout_s: float) -> None:
        """Wait until a copy ends, or so long."""
        self._copier.wait(timeout_s)

    def close(self) -> None:
        """End the copies that were begun and let go of the copier."""
        self._copier.close()
