"""Every sentence of the snapshot predicates is shown a snapshot that breaks it: a real one, doctored in one place."""

from __future__ import annotations

import pytest
from attrs import evolve
from walks import Walk

from astraea.errors import InvariantError
from astraea.policy.invariants import check_snapshot
from astraea.policy.tables import KvState, TurnState


def first(items, **changes):
    """Return the items with the first one changed."""
    return (evolve(items[0], **changes), *items[1:])


def chosen(items, fits, **changes):
    """Return the items with the first that fits changed; none fits: ``LookupError``."""
    index = next((i for i, item in enumerate(items) if fits(item)), None)
    if index is None:
        raise LookupError
    return (*items[:index], evolve(items[index], **changes), *items[index + 1 :])


def key(turn):
    return turn.tenant, turn.session_id, turn.context_id


def context_of(view, state):
    """Return a test for the cache of a turn in that state."""
    keys = {key(turn) for turn in view.turns if turn.state is state}
    return lambda cache: key(cache) in keys


def negative(view):
    blocks = view.caches[0].device_blocks + view.device_free + 1
    return {"device_free": -1, "caches": first(view.caches, device_blocks=blocks)}


def flipped(view):
    waiting = {(t.tenant, t.job_id) for t in view.turns if t.state is TurnState.WAITING}
    job = next((job for job in view.jobs if (job.tenant, job.job_id) in waiting), None)
    if job is None:
        raise LookupError
    return {"jobs": tuple(evolve(j, promoted=not j.promoted) if j is job else j for j in view.jobs)}


def unready(prefix):
    return prefix.dependents and prefix.ready_tokens


def in_state(state):
    return lambda item: item.state is state


DOCTORED = {
    "INV-1 a device block too many": lambda v: {"device_free": v.device_free + 1},
    "INV-1 a host block too few": lambda v: {"host_free": v.host_free - 1},
    "INV-1 a quarantined block that nobody holds": lambda v: {"device_quarantined": v.device_quarantined + 1},
    "INV-1 a negative count": negative,
    "INV-2 two jobs of one name": lambda v: {"jobs": (*v.jobs, v.jobs[0])},
    "INV-2 a live turn that has ended": lambda v: {"turns": first(v.turns, state=TurnState.FINISHED)},
    "INV-2 a job that forgot its turns": lambda v: {"jobs": tuple(evolve(job, live_turns=0) for job in v.jobs)},
    "INV-2 turns without a job": lambda v: {"jobs": ()},
    "INV-2 a turn without a context": lambda v: {
        "device_free": v.device_blocks, "host_free": v.host_blocks, "caches": (), "prefixes": (),
        "device_quarantined": 0,
    },
    "INV-2 a running turn whose KV is away": lambda v: {
        "caches": chosen(v.caches, context_of(v, TurnState.RUNNING), state=KvState.HOST)
    },
    "INV-2 a live turn in a tool wait": lambda v: {
        "caches": chosen(v.caches, context_of(v, TurnState.WAITING), waits_for="shell")
    },
    "INV-3 more tokens ready than blocks hold": lambda v: {"prefixes": first(v.prefixes, ready_tokens=10**6)},
    "INV-3 a prefix that is not ready for those behind it": lambda v: {
        "prefixes": chosen(v.prefixes, unready, ready_tokens=0, holders=0)
    },
    "INV-3 a miscounted prefix": lambda v: {"prefixes": chosen(v.prefixes, lambda p: p.holders, dependents=99)},
    "INV-3 blocks without a state": lambda v: {
        "caches": chosen(v.caches, lambda c: c.device_blocks and c.waits_for, state=KvState.NONE)
    },
    "INV-3 a host copy of nothing": lambda v: {"caches": chosen(v.caches, in_state(KvState.HOST), host_tokens=0)},
    "INV-3 a holding of nobody": lambda v: {
        "caches": chosen(v.caches, lambda c: c.state is KvState.DEVICE and c.waits_for, context_id="")
    },
    "INV-3 more tokens than host blocks": lambda v: {
        "caches": chosen(v.caches, in_state(KvState.HOST), host_tokens=10**6)
    },
    "INV-3 a copy that nobody owes": lambda v: {
        "caches": chosen(v.caches, lambda c: c.state is KvState.LEAVING, tenant=""), "copies_owed": (),
    },
    "INV-3 more tokens than blocks": lambda v: {
        "caches": chosen(v.caches, lambda c: c.state is KvState.DEVICE and c.device_blocks, device_tokens=10**6)
    },
    "INV-5 an admitted turn larger than the pool": lambda v: {"turns": first(v.turns, max_tokens=10**6)},
    "LIVE-1 a job bypassed too often": lambda v: {"worst_bypass": 10**6},
    "LIVE-1 a promotion too early or too late": flipped,
    "LIVE-3 a turn preempted too often": lambda v: {"turns": first(v.turns, preemptions=99)},
}  # fmt: skip


def snapshots():
    """Snapshots of many states, as long as somebody asks."""
    for seed in range(400):
        walk = Walk(seed, policy="astraea")
        for _ in range(30):
            walk.go(2)
            yield walk.driver.core.snapshot(), walk.driver.limits


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_snapshot_is_seen(name):
    for view, limits in snapshots():
        check_snapshot(view, limits, guarded=True)
        try:
            doctored = evolve(view, **DOCTORED[name](view))
        except (LookupError, ValueError):
            continue
        if doctored == view or not view.turns or view.turns[0].state is TurnState.STOPPING:
            continue
        with pytest.raises(InvariantError) as breach:
            check_snapshot(doctored, limits, guarded=True)
        assert breach.value.claim == name.split()[0], breach.value
        return
    pytest.fail("no walk came to a state that can be doctored so")
