"""Astraea's own policy with one part taken out, disturbed or set otherwise, each under a name.

What a limit or a preference can switch off is switched off there; the rest is a subclass behind the policy protocol.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from attrs import evolve, field, frozen

from astraea.policy.astraea import LearningPolicy
from astraea.policy.classification import next_level
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.pressure import KeepByReuse
from astraea.policy.protocol import Policy
from astraea.policy.ranking import StaticQueue
from astraea.policy.state import Context, Job, Turn
from astraea.rivals import make_policy
from evaluation.predictors import Folded, Inverted, Noisy, Untaught

__all__ = ["ABLATIONS", "BYPASS_BOUNDS", "NOISES", "VARIANTS", "Variant", "make"]

_Instead = Untaught | Noisy | Inverted | Folded
BYPASS_BOUNDS = (64, 256, 1_024, 2_048, 4_096, 16_384)
"""Values of K beside the default."""
NOISES = (2, 4)


@frozen(slots=True, kw_only=True)
class Variant:
    """How the policy differs from ``astraea``."""

    what: str
    """A phrase for the page."""
    policy: Callable[[Limits], Policy] = LearningPolicy
    limits: Mapping[str, Any] = field(factory=dict)
    """Limits that are replaced."""
    tuning: Mapping[str, Any] = field(factory=dict)
    """Preferences that are replaced."""

    def changed(self, limits: Limits) -> Limits:
        """Return the limits of a run of this variant."""
        return evolve(limits, tuning=evolve(limits.tuning, **self.tuning), **self.limits)


class _Foreseeing(LearningPolicy):
    """The policy on another predictor, which it tells whose job it asks or teaches about."""

    def __init__(self, limits: Limits, predictor: _Instead) -> None:
        super().__init__(limits)
        self._instead = predictor
        self.predictor = cast("Predictor", predictor)
        self.memory = _ForeseeingMemory(limits, predictor)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        self._instead.about(turn.job.job_id)
        return super().size(turn, resident_tokens, host_tokens, now_us)

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        self._instead.about(turn.job.job_id)
        super().turn_ended(turn, tool, to_tool=to_tool)

    def tool_returned(self, context: Context, wait_us: int) -> None:
        if context.job is not None:
            self._instead.about(context.job.job_id)
        super().tool_returned(context, wait_us)

    def job_ended(self, job: Job) -> None:
        self._instead.about(job.job_id)
        super().job_ended(job)


class _ForeseeingMemory(KeepByReuse):
    def __init__(self, limits: Limits, predictor: _Instead) -> None:
        super().__init__(limits, cast("Predictor", predictor))
        self._instead = predictor

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        if context.job is not None:
            self._instead.about(context.job.job_id)
        return super().keep_until_us(context, ledger, now_us)


class _Unclassified(LearningPolicy):
    """Every job stays in the first queue: there is one class."""

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        super().turn_ended(turn, tool, to_tool=to_tool)
        turn.job.level = 0


class _Shuffled(LearningPolicy):
    """A job's class is that of another: after each turn it takes the queue of a turn drawn from all that ended.

    Classes are as frequent as they were; what they say of the job is gone.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._random = random.Random("shuffled")
        self._seen: list[int] = []
        self._true: dict[tuple[str, str], int] = {}

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        super().turn_ended(turn, tool, to_tool=to_tool)
        job = turn.job
        key = (job.tenant, job.job_id)
        true = next_level(self._true.get(key, 0), turn.new_tokens + turn.sampled, yielded_to_tool=to_tool)
        self._true[key] = true
        self._seen.append(true)
        job.level = self._random.choice(self._seen)

    def job_ended(self, job: Job) -> None:
        super().job_ended(job)
        self._true.pop((job.tenant, job.job_id), None)


class _Unaged(LearningPolicy):
    """The order is that of sizes alone: who has waited long has no better rank."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queue = StaticQueue(lambda job, size, serial: (size, job.arrival, serial))


class _Unguarded(LearningPolicy):
    """No job is promoted, however often it was passed."""

    guarded = False


class _Unprotected(LearningPolicy):
    """The cache of a waiting turn is anybody's."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.memory = _UnprotectedMemory(limits, self.predictor)


class _UnprotectedMemory(KeepByReuse):
    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        if victim is None or victim.turn is not None:
            return True
        return super().may_evict_protected(turn, victim, ledger, now_us, ranks_before=ranks_before, lossless=lossless)


def _foreseeing(predictor: Callable[[Limits], _Instead]) -> Callable[[Limits], Policy]:
    return lambda limits: _Foreseeing(limits, predictor(limits))


ABLATIONS: Mapping[str, Variant] = MappingProxyType(
    {
        "astraea-no-class": Variant(what="classification: one class for all jobs", policy=_Unclassified),
        "astraea-no-prediction": Variant(
            what="prediction: the rest of a job is what it would be on the first day", policy=_foreseeing(Untaught)
        ),
        "astraea-no-ageing": Variant(what="ageing: the order is that of sizes alone", policy=_Unaged),
        "astraea-no-guard": Variant(what="guard: no bound on bypassing", policy=_Unguarded),
        "astraea-no-protection": Variant(what="protection of waiting turns' caches", policy=_Unprotected),
        "astraea-no-keeping": Variant(what="keeping caches over tool waits", tuning={"keep_tenths": 0}),
        "astraea-no-headroom": Variant(what="headroom for growth", tuning={"growth_permille": 0}),
        "astraea-no-resume": Variant(what="the bonus for a resident cache", tuning={"resume_permille": 0}),
        "astraea-no-swap": Variant(what="swap: a host pool of 4x is there and not used", limits={"host_blocks": 0}),
        "astraea-shuffled-class": Variant(what="control: each job has the class of some other", policy=_Shuffled),
    }
)
VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        **ABLATIONS,
        **{
            f"astraea-noise-{times}": Variant(
                what=f"remaining service wrong by a factor of {times} (one standard deviation, for the whole job)",
                policy=_foreseeing(partial(Noisy, times=times)),
            )
            for times in NOISES
        },
        "astraea-adversarial": Variant(
            what="remaining service turned round: long jobs predicted short", policy=_foreseeing(Inverted)
        ),
        "astraea-left-out": Variant(
            what="no estimate rests on a run of the same entry of the trace", policy=_foreseeing(Folded)
        ),
        **{f"astraea-k-{bound}": Variant(what=f"K = {bound}", limits={"bypass_max": bound}) for bound in BYPASS_BOUNDS},
    }
)


def make(name: str, limits: Limits) -> tuple[Policy, Limits]:
    """Return a policy or a variant by its name, and the limits that it runs under."""
    variant = VARIANTS.get(name)
    if variant is None:
        return make_policy(name, limits), limits
    changed = variant.changed(limits)
    return variant.policy(changed), changed
