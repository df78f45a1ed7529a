"""Random walks of the driver: the same choices as the state machine makes, drawn by a seeded generator.

They go further than Hypothesis does in the same time, and they can be repeated by their seed: ``walk(17)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from driver import Arrival, Driver
from hypothesis import settings

from astraea.policy.limits import EngineCosts, Limits, Tuning
from astraea.policy.protocol import Policy
from astraea.rivals import policy_names

NIGHT = not settings.default.derandomize
"""By night there are more walks, and other ones each time."""


def random_limits(rng: random.Random, **fixed) -> Limits:
    """Pools so tiny that every rule is in force at once."""
    blocks = rng.randint(8, 40)
    chosen = {
        "device_blocks": blocks,
        "host_blocks": rng.choice([0, 0, blocks // 2, blocks, 3 * blocks]),
        "block_tokens": rng.choice([1, 4, 4, 16]),
        "step_tokens_max": rng.choice([1, 3, 8, 64, 2048]),
        "batch_turns_max": rng.randint(1, 4),
        "steps_max": rng.choice([1, 4, 16, 1024]),
        "bypass_max": rng.randint(0, 6),
        "preemptions_max": rng.randint(0, 2),
        "growth_ahead_steps": rng.choice([1, 4, 32]),
        "blocked_scan_max": rng.choice([1, 2, 256]),
        "turns_max": rng.choice([4, 12, 1000]),
        "tenant_turns_max": rng.choice([3, 1000, 1000]),
        "tenant_kv_blocks_max": rng.choice([None, None, None, max(1, blocks // 2)]),
        "costs": EngineCosts(swap_ns_per_token=rng.choice([100, 5_243, 1_000_000])),
        "tuning": Tuning(keep_tenths=rng.choice([0, 35, 1000]), prior_tool_wait_us=rng.choice([1, 1_000_000])),
    }
    return Limits(**(chosen | fixed))


class Walk:
    """One random walk; ``faults`` and the other habits of its client and engine are drawn first."""

    def __init__(
        self,
        seed: int,
        policy: str | Callable[[random.Random], Policy] | None = None,
        driver: type[Driver] = Driver,
        **fixed,
    ) -> None:
        self.rng = rng = random.Random(seed)
        limits = random_limits(rng, **fixed)
        name = rng.choice(policy_names())
        self.driver = driver(limits, policy(rng) if callable(policy) else policy or name)
        self.prefixes, self.faults, self.cancels = rng.random() < 0.6, rng.random() < 0.6, rng.random() < 0.5
        self._moves = self._weighted_moves()

    def _weighted_moves(self):
        driver, rng = self.driver, self.rng
        moves = [
            (10, self.arrive),
            (10, driver.decide),
            (14, self.work),
            (6, lambda: driver.pause(rng.randrange(8))),
            (6, lambda: driver.swap_done(rng.randrange(9), failed=False)),
            (1, lambda: driver.cancel_turn(rng.randrange(99))),
            (2, lambda: driver.tool_returns(rng.randrange(9))),
        ]
        if self.cancels:
            moves.append((1, lambda: driver.cancel_job(rng.randrange(99))))
            moves.append((1, lambda: driver.close_session(rng.randrange(99))))
        if self.faults:
            moves += [
                (2, lambda: driver.report_batch(rng.choice([0, 1, 10**6]), self._fates([0, 8, 8, 2, 5]))),
                (1, driver.batch_overdue),
                (2, lambda: driver.late_batch(rng.randrange(9))),
                (1, lambda: driver.swap_done(rng.randrange(9), failed=True)),
                (1, lambda: driver.swap_overdue(rng.randrange(9))),
            ]
        if rng.random() < 0.1:
            moves.append((1, driver.drain))
        return moves

    def _fates(self, fates):
        return [self.rng.choice(fates) for _ in range(4)]

    def work(self):
        """Report the owed batch and ask what is owed next."""
        self.driver.report_batch(self.rng.choice([1, 2, 5, 10**6, 10**6]), self._fates([0, 0, 0, 1, 2, 3, 5, 7]))
        self.driver.decide()

    def arrive(self):
        rng, limits = self.rng, self.driver.limits
        block, pool = limits.block_tokens, limits.device_tokens
        huge = rng.random() < 0.1
        self.driver.arrive(
            Arrival(
                session=rng.randrange(6),
                context=rng.choice([0, 0, 0, 1, 2]),
                new=rng.randint(0, pool if huge else 8 * block),
                output=rng.randint(1, pool) if huge else rng.choice([1, 2, 3, 2 * block, 5 * block]),
                keep=rng.choice([0, 0, 0, 0, 1, 4, 7]),
                prefix=rng.randrange(3) if self.prefixes else 0,
                parent=rng.choice([0, 0, 0, 1, 5, 9, 2]),
                job=rng.choice([0, 0, 0, 1, 2]),
                hint=rng.randrange(4),
            )
        )

    def go(self, moves: int) -> None:
        weights = [weight for weight, _ in self._moves]
        for _ in range(moves):
            self.rng.choices(self._moves, weights)[0][1]()


def walk(seed: int, moves: int = 60, **kwargs) -> Driver:
    """Walk, then demand that everything ends; return the driver, which holds the log."""
    journey = Walk(seed, **kwargs)
    journey.go(moves)
    journey.driver.finish()
    return journey.driver
