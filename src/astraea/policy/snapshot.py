"""An immutable view of a scheduler: what is live, where it stands and what it holds.

Views are for people, tests and checkers; they leave out what policies have learnt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from astraea.policy.state import Context, Holding, Prefix
from astraea.policy.tables import KvState, TurnState

if TYPE_CHECKING:
    from astraea.policy.core import Scheduler

__all__ = ["CacheView", "JobView", "PrefixView", "Snapshot", "TurnView", "take_snapshot"]


@frozen(slots=True)
class JobView:
    """A live job."""

    tenant: str
    job_id: str
    arrival: int
    arrival_us: int
    wait_us: int
    bypasses: int
    promoted: bool
    level: int
    live_turns: int
    tool_waits: int


@frozen(slots=True)
class TurnView:
    """A live turn."""

    turn_id: str
    tenant: str
    job_id: str
    session_id: str
    context_id: str
    state: TurnState
    prompt_tokens: int
    sampled_tokens: int
    max_tokens: int
    preemptions: int
    size: int
    starts: bool


@frozen(slots=True)
class CacheView:
    """A holding: a context's, or one that belongs to nobody until a report comes (``context_id`` empty)."""

    tenant: str
    session_id: str
    context_id: str
    state: KvState
    prefix_id: str
    device_tokens: int
    device_blocks: int
    host_tokens: int
    host_blocks: int
    keep_until_us: int
    waits_for: str


@frozen(slots=True)
class PrefixView:
    """A shared prefix."""

    tenant: str
    prefix_id: str
    tokens: int
    ready_tokens: int
    device_blocks: int
    holders: int
    dependents: int
    replaced: bool


@frozen(slots=True)
class Snapshot:
    """Everything that is live in one scheduler, in order of arrival or of name."""

    now_us: int
    device_blocks: int
    device_free: int
    device_quarantined: int
    host_blocks: int
    host_free: int
    jobs: tuple[JobView, ...]
    turns: tuple[TurnView, ...]
    caches: tuple[CacheView, ...]
    prefixes: tuple[PrefixView, ...]
    copies_owed: tuple[int, ...]
    batch_owed: int | None
    batches_overdue: tuple[int, ...]
    open_turn: str | None
    wake_us: int | None
    worst_bypass: int
    """Most bypasses of any job so far, ended ones included."""
    draining: bool
    decisions_pending: int


def take_snapshot(core: Scheduler) -> Snapshot:
    """Return the view of a scheduler; it is not changed."""
    return Snapshot(
        now_us=core._now_us,
        device_blocks=core.limits.device_blocks,
        device_free=core._ledger.device_free,
        device_quarantined=core._ledger.device_quarantined,
        host_blocks=core.limits.host_blocks,
        host_free=core._ledger.host_free,
        jobs=_jobs(core),
        turns=_turns(core),
        caches=_caches(core),
        prefixes=_prefixes(core),
        copies_owed=tuple(core._copies.ops),
        batch_owed=core._reports.in_flight.batch_id if core._reports.in_flight else None,
        batches_overdue=tuple(core._reports.frozen),
        open_turn=core._waiting.open_turn.turn_id if core._waiting.open_turn else None,
        wake_us=core._wake_us,
        worst_bypass=max([core._registry.worst_bypass, *map(core._guard.bypasses, core._registry.jobs.values())]),
        draining=core._draining,
        decisions_pending=len(core._out),
    )


def _jobs(core: Scheduler) -> tuple[JobView, ...]:
    return tuple(
        JobView(
            job.tenant, job.job_id, job.arrival, job.arrival_us, job.wait_at(core._now_us), core._guard.bypasses(job),
            job.promoted, job.level, len(job.turns), job.tool_waits,
        )
        for job in core._registry.jobs.values()
    )  # fmt: skip


def _turns(core: Scheduler) -> tuple[TurnView, ...]:
    unwritten = core._batching.unwritten_tokens()
    views = []
    for turn in core._registry.turns.values():
        context = turn.context
        done = context.holding.device_tokens + unwritten.get(turn.serial, 0)
        sampled = turn.sampled
        if turn.serial in unwritten:
            sampled += max(0, done - turn.goal_tokens + 1)
        views.append(
            TurnView(
                turn.turn_id, turn.job.tenant, turn.job.job_id, context.session.session_id, context.context_id,
                turn.state, turn.prompt_tokens, sampled, turn.max_tokens, turn.preemptions, turn.size, turn.starts,
            )
        )  # fmt: skip
    return tuple(views)


def _caches(core: Scheduler) -> tuple[CacheView, ...]:
    unwritten = core._batching.unwritten_tokens()
    views = []
    seen: set[Holding] = set()
    for session in core._registry.sessions.values():
        for context in session.contexts.values():
            seen.add(context.holding)
            more = unwritten.get(context.turn.serial, 0) if context.turn is not None else 0
            views.append(_cache(context.holding, context, more))
    orphans = [op.holding for op in core._copies.ops.values()]
    orphans += [holding for frozen in core._reports.frozen.values() for holding, _ in frozen]
    orphans += [turn.context.holding for turn in core._registry.turns.values()]
    for holding in orphans:
        if holding not in seen:
            seen.add(holding)
            views.append(_cache(holding, None, 0))
    return tuple(views)


def _cache(holding: Holding, context: Context | None, more_tokens: int) -> CacheView:
    shared_by = holding.prefix.tenant if holding.prefix else ""
    return CacheView(
        tenant=context.session.tenant if context else shared_by,
        session_id=context.session.session_id if context else "",
        context_id=context.context_id if context else "",
        state=holding.state,
        prefix_id=holding.prefix.prefix_id if holding.prefix else "",
        device_tokens=holding.device_tokens + more_tokens,
        device_blocks=holding.device_blocks,
        host_tokens=holding.host_tokens,
        host_blocks=holding.host_blocks,
        keep_until_us=context.keep_until_us if context else 0,
        waits_for=context.waits_for if context else "",
    )


def _prefixes(core: Scheduler) -> tuple[PrefixView, ...]:
    def view(prefix: Prefix) -> PrefixView:
        return PrefixView(
            prefix.tenant, prefix.prefix_id, prefix.tokens, prefix.ready_tokens, prefix.device_blocks,
            prefix.holders, prefix.dependents, prefix.replaced,
        )  # fmt: skip

    return tuple(view(p) for p in (*core._prefixes.by_key.values(), *core._prefixes.frozen))
