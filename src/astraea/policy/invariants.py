"""The claims that one snapshot can show, as predicates: what holds at every moment, whatever was reported.

Each raises :class:`~astraea.errors.InvariantError` with the id of its claim and the numbers that disagree. They look at
views only, so that a test, a debugger or a cautious deployment can ask after every event. What needs two moments (each
turn ends once, nothing is clairvoyant) is watched by ``tests/property`` and :mod:`astraea.trace.check`.
"""

from __future__ import annotations

from collections import Counter

from astraea.errors import InvariantError
from astraea.policy.limits import Limits
from astraea.policy.snapshot import CacheView, Snapshot, TurnView
from astraea.policy.tables import TURN_ENDS, KvState, TurnState

__all__ = [
    "check_snapshot",
    "inv_1_blocks_are_conserved",
    "inv_2_everything_is_in_one_state",
    "inv_3_blocks_serve_one_context",
    "inv_5_every_queued_turn_fits",
    "live_1_bypass_is_bounded",
    "live_3_preemptions_are_bounded",
]

_WAITING = frozenset({TurnState.WAITING, TurnState.PREEMPTED, TurnState.RETURNING})
_COPYING = frozenset({KvState.LEAVING, KvState.LEAVING_DEAD, KvState.RETURNING, KvState.RETURNING_DEAD})
_WITHOUT_DEVICE = frozenset({KvState.NONE, KvState.HOST, KvState.GONE})
_ORPHANED = frozenset({KvState.DEVICE_DEAD, KvState.LEAVING_DEAD, KvState.RETURNING_DEAD, KvState.QUARANTINED})


def check_snapshot(view: Snapshot, limits: Limits, guarded: bool) -> None:  # noqa: FBT001 - a fact of the policy, not a mode
    """Raise where a snapshot breaks a claim; ``guarded`` says whether its policy keeps the bypass bound."""
    inv_1_blocks_are_conserved(view)
    inv_2_everything_is_in_one_state(view)
    inv_3_blocks_serve_one_context(view, limits)
    inv_5_every_queued_turn_fits(view, limits)
    if guarded:
        live_1_bypass_is_bounded(view, limits)
    live_3_preemptions_are_bounded(view, limits)


def inv_1_blocks_are_conserved(view: Snapshot) -> None:
    """Every block is free, or in one holding, or in one shared prefix; what is quarantined is among those held."""
    private = sum(cache.device_blocks for cache in view.caches)
    shared = sum(prefix.device_blocks for prefix in view.prefixes)
    _equal("INV-1", "device blocks", view.device_blocks, free=view.device_free, private=private, shared=shared)
    held = sum(cache.host_blocks for cache in view.caches)
    _equal("INV-1", "host blocks", view.host_blocks, free=view.host_free, held=held)
    quarantined = sum(cache.device_blocks for cache in view.caches if cache.state is KvState.QUARANTINED)
    quarantined += sum(prefix.device_blocks for prefix in view.prefixes if prefix.replaced)
    _equal("INV-1", "quarantined blocks", view.device_quarantined, found=quarantined)
    counts = [view.device_free, view.host_free]
    counts += [count for cache in view.caches for count in (cache.device_blocks, cache.host_blocks)]
    counts += [prefix.device_blocks for prefix in view.prefixes]
    if min(counts) < 0:
        raise InvariantError("INV-1", f"a count of blocks is negative: {min(counts)}")


def inv_2_everything_is_in_one_state(view: Snapshot) -> None:
    """Live turns, their jobs and their contexts agree on where each stands."""
    caches = {(cache.tenant, cache.session_id, cache.context_id): cache for cache in view.caches if cache.context_id}
    live = Counter((turn.tenant, turn.job_id) for turn in view.turns if turn.state is not TurnState.STOPPING)
    jobs = {(job.tenant, job.job_id) for job in view.jobs}
    if len(jobs) != len(view.jobs):
        raise InvariantError("INV-2", f"{len(view.jobs)} live jobs have {len(jobs)} names")
    for turn in view.turns:
        if turn.state in TURN_ENDS:
            raise InvariantError("INV-2", f"turn {turn.turn_id!r} is {turn.state} and still live")
        if turn.state is not TurnState.STOPPING:
            _turn_agrees(turn, caches.get((turn.tenant, turn.session_id, turn.context_id)))
    for job in view.jobs:
        counted = live[job.tenant, job.job_id]
        if counted > job.live_turns:
            raise InvariantError("INV-2", f"job {job.job_id!r} knows {job.live_turns} live turns of {counted}")
    if not live.keys() <= jobs:
        raise InvariantError("INV-2", f"turns of jobs that are not live: {min(live.keys() - jobs)}")


def _turn_agrees(turn: TurnView, cache: CacheView | None) -> None:
    if cache is None:
        raise InvariantError("INV-2", f"turn {turn.turn_id!r} is {turn.state} in a context that is not known")
    running, returning = turn.state is TurnState.RUNNING, turn.state is TurnState.RETURNING
    if (running and cache.state is not KvState.DEVICE) or (returning and cache.state is not KvState.RETURNING):
        raise InvariantError("INV-2", f"turn {turn.turn_id!r} is {turn.state} while its KV is {cache.state}")
    if cache.waits_for:
        raise InvariantError("INV-2", f"turn {turn.turn_id!r} is live and its context waits for {cache.waits_for!r}")


def inv_3_blocks_serve_one_context(view: Snapshot, limits: Limits) -> None:
    """What is held has blocks of its own; a shared prefix is counted by those behind it, and ready for them."""
    behind: Counter[tuple[str, str]] = Counter()
    for cache in view.caches:
        _holding_has_blocks(cache, view, limits)
        if cache.prefix_id and cache.device_blocks:
            behind[cache.tenant, cache.prefix_id] += 1
    counted: Counter[tuple[str, str]] = Counter()
    for prefix in view.prefixes:
        counted[prefix.tenant, prefix.prefix_id] += prefix.dependents
        if prefix.ready_tokens > prefix.device_blocks * limits.block_tokens:
            numbers = f"{prefix.ready_tokens} ready tokens in {prefix.device_blocks} blocks"
            raise InvariantError("INV-3", f"prefix {prefix.prefix_id!r} has {numbers}")
        if prefix.dependents and not prefix.holders and prefix.ready_tokens < prefix.tokens:
            numbers = f"{prefix.dependents} contexts, of {prefix.tokens} tokens {prefix.ready_tokens} are ready"
            raise InvariantError("INV-3", f"prefix {prefix.prefix_id!r} stands before {numbers}")
    if +behind != +counted:
        raise InvariantError("INV-3", f"prefixes count {+counted} contexts behind them, {+behind} there are")


def _holding_has_blocks(cache: CacheView, view: Snapshot, limits: Limits) -> None:
    name = f"context {cache.context_id!r} of session {cache.session_id!r}"
    state, blocks = cache.state, cache.device_blocks
    if state in _WITHOUT_DEVICE and (blocks or cache.device_tokens):
        raise InvariantError("INV-3", f"{name} is {state} with {blocks} blocks, {cache.device_tokens} tokens")
    if (state is KvState.HOST) > (cache.host_tokens > 0) or (state is KvState.NONE and cache.host_blocks):
        raise InvariantError("INV-3", f"{name} is {state} with {cache.host_tokens} tokens on the host")
    if not cache.context_id and state not in _ORPHANED:
        raise InvariantError("INV-3", f"a holding that is {state} belongs to nobody")
    if cache.host_tokens > cache.host_blocks * limits.block_tokens:
        raise InvariantError("INV-3", f"{name} has {cache.host_tokens} tokens in {cache.host_blocks} host blocks")
    if state in _COPYING and not view.copies_owed:
        raise InvariantError("INV-3", f"{name} is {state} and no copy is owed")
    if state is KvState.QUARANTINED:
        return  # what it held is lost
    shared = max(
        (p.tokens for p in view.prefixes if cache.prefix_id == p.prefix_id and cache.tenant == p.tenant), default=0
    )
    if blocks and cache.device_tokens > shared + blocks * limits.block_tokens:
        raise InvariantError("INV-3", f"{name} has {cache.device_tokens} tokens in {blocks} blocks after {shared}")


def inv_5_every_queued_turn_fits(view: Snapshot, limits: Limits) -> None:
    """Every turn that waits or runs would fit a pool that held nothing but what is quarantined."""
    usable = view.device_blocks - view.device_quarantined
    for turn in view.turns:
        blocks = limits.blocks_for(turn.max_tokens)
        if blocks > usable and turn.state is not TurnState.STOPPING:
            raise InvariantError("INV-5", f"turn {turn.turn_id!r} of {blocks} blocks is admitted; {usable} are usable")


def live_1_bypass_is_bounded(view: Snapshot, limits: Limits) -> None:
    """No job was bypassed more than K times, and one that was so often and waits is promoted."""
    if view.worst_bypass > limits.bypass_max:
        raise InvariantError("LIVE-1", f"a job was bypassed {view.worst_bypass} times; K is {limits.bypass_max}")
    waiting = {(turn.tenant, turn.job_id) for turn in view.turns if turn.state in _WAITING}
    for job in view.jobs:
        waits = (job.tenant, job.job_id) in waiting
        if waits and job.promoted != (job.bypasses >= limits.bypass_max):
            promoted = "is promoted" if job.promoted else "is not promoted"
            sentence = f"job {job.job_id!r} {promoted} at {job.bypasses} bypasses; K is {limits.bypass_max}"
            raise InvariantError("LIVE-1", sentence)


def live_3_preemptions_are_bounded(view: Snapshot, limits: Limits) -> None:
    """No turn was preempted more than P times."""
    for turn in view.turns:
        if turn.preemptions > limits.preemptions_max:
            numbers = f"preempted {turn.preemptions} times; P is {limits.preemptions_max}"
            raise InvariantError("LIVE-3", f"turn {turn.turn_id!r} was {numbers}")


def _equal(claim: str, what: str, total: int, **parts: int) -> None:
    if sum(parts.values()) != total:
        counted = " + ".join(f"{count} {name}" for name, count in parts.items())
        raise InvariantError(claim, f"{what}: {counted} is {sum(parts.values())}, not {total}")
