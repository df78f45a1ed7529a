"""No dead rows: every row of the two tables is taken on some walk, so every row is under every claim somewhere.

The rows that random walks come to once in a thousand are led to by hand.
"""

from __future__ import annotations

from chooser import AnyChooser
from driver import Arrival, Driver
from walks import Walk

from astraea.policy import state
from astraea.policy.limits import EngineCosts, Limits
from astraea.policy.tables import KV_TABLE, TURN_TABLE, TurnInput, TurnState

MACHINES = {"turn": (TURN_TABLE, "next_turn_state"), "kv": (KV_TABLE, "next_kv_state")}


class RoughWalk(Walk):
    """Turns are large, sessions close, and reports fail or are lost, far more often than anywhere else."""

    def _weighted_moves(self):
        driver, rng = self.driver, self.rng
        return [
            (6, self.arrive),
            (2, self.arrive_large),
            (10, driver.decide),
            (10, self.work),
            (2, lambda: driver.report_batch(1 << 20, [0, 0, 0, 2])),
            (1, driver.batch_overdue),
            (2, lambda: driver.late_batch(rng.randrange(9))),
            (2, lambda: driver.swap_done(rng.randrange(9), failed=False)),
            (2, lambda: driver.swap_done(rng.randrange(9), failed=True)),
            (2, lambda: driver.swap_overdue(rng.randrange(9))),
            (2, lambda: driver.cancel_turn(rng.randrange(99))),
            (3, lambda: driver.close_session(rng.randrange(99))),
        ]

    def arrive_large(self):
        rng, pool = self.rng, self.driver.limits.device_tokens
        new = rng.randint(1, pool // 2)
        output = max(1, rng.randint(pool // 4, pool) - new)
        self.driver.arrive(Arrival(session=rng.randrange(6), new=new, output=output, keep=rng.choice([0, 0, 1, 4])))


UNLIMITED = {"tenant_kv_blocks_max": None, "turns_max": 1000, "tenant_turns_max": 1000}
KINDS = ((Walk, {}), (RoughWalk, UNLIMITED | {"host_blocks": 100}), (RoughWalk, UNLIMITED | {"host_blocks": 12}))


def begin():
    """Return a driver whose first turn ended in a tool call, leaving six blocks of cache in a pool of ten."""
    limits = Limits(
        device_blocks=10, host_blocks=10, block_tokens=1, steps_max=1, costs=EngineCosts(swap_ns_per_token=1)
    )
    driver = Driver(limits, "fcfs")
    driver.arrive(Arrival(session=0, new=5, output=1))
    driver.decide()
    driver.report_batch(1, [2])
    return driver


def squeezed_between_batches():
    """A turn runs, no batch is owed, and a lost copy leaves too small a pool for it."""
    driver = begin()
    driver.arrive(Arrival(session=2, new=1, output=8))
    driver.decide()
    driver.report_batch(1, [0])
    driver.arrive(Arrival(session=4, new=5, output=1))
    driver.decide()
    driver.report_batch(1, [0])
    driver.swap_overdue(0)
    driver.decide()
    assert driver.model.ends["t2"] == ["refused"]


def returning():
    """Return a driver with a copy under way from the host, for the first session, and another to the host."""
    driver = begin()
    driver.arrive(Arrival(session=2, new=9, output=1))
    driver.decide()
    driver.swap_done(0, failed=False)
    driver.decide()
    driver.report_batch(1, [2])
    driver.arrive(Arrival(session=0, new=1, output=2))
    driver.arrive(Arrival(session=4, new=1, output=2))
    driver.decide()
    assert driver.model.turns["t3"].state == "returning"
    return driver


def squeezed_while_returning():
    """The other copy is lost, and what it froze leaves too small a pool."""
    driver = returning()
    driver.swap_overdue(1)
    driver.decide()
    assert driver.model.ends["t3"] == ["refused"]


def closed_while_returning():
    """A session closes while its cache is on the way back, and the report comes, tells of a failure, or is lost."""
    for failed in (False, True):
        driver = returning()
        driver.close_session(0)
        driver.swap_done(0, failed=failed)
        driver.finish()
    driver = returning()
    driver.close_session(0)
    driver.swap_overdue(0)
    driver.finish()


def rows():
    """Every row as (machine, state, input); the machines share words, so their name belongs to it."""
    return {
        (name, start, happened)
        for name, (table, _) in MACHINES.items()
        for start, row in table.items()
        for happened in row
    }


def dead_rows(patch, walks):
    """Walk until every row was taken; return those that never were."""
    left = rows()

    def watch(name, lookup):
        def step(start, happened):
            left.discard((name, start, happened))
            return lookup(start, happened)

        return step

    for name, (_, function) in MACHINES.items():
        patch.setattr(state, function, watch(name, getattr(state, function)))
    squeezed_between_batches()
    squeezed_while_returning()
    closed_while_returning()
    seed = 0
    while left and seed < walks:
        kind, fixed = KINDS[seed % len(KINDS)]
        journey = kind(seed, policy=lambda rng: AnyChooser(rng.randrange), **fixed)
        journey.go(150)
        journey.driver.finish()
        seed += 1
    print(f"{len(rows()) - len(left)} of {len(rows())} rows were taken on {seed} walks")
    return left


def test_every_row_of_the_tables_is_taken_on_some_walk(monkeypatch):
    assert not dead_rows(monkeypatch, 3_000)


def test_a_row_that_nothing_takes_is_found_dead(monkeypatch):
    monkeypatch.setitem(TURN_TABLE, TurnState.FINISHED, {TurnInput.DISPATCH: TurnState.RUNNING})
    assert ("turn", "finished", "dispatch") in dead_rows(monkeypatch, 20)
