"""The plan of one round: everything that a seed decides before the run begins, and how it reads.

A round is one scheduler from birth to rest: a safety phase with faults, up to the horizon, then the heal. The seed and
the number of the round expand into the same plan everywhere. Each round leaves out some kinds of faults altogether, so
that the others are met in every company.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from astraea.errors import UsageError
from astraea.policy.limits import EngineCosts, Limits, Tuning
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.torture.faults import TARGETS, Fault, FaultKind, Target
from astraea.simulator.torture.work import chosen, draw_jobs
from astraea.simulator.workloads.dice import Dice
from astraea.units import US_PER_S

__all__ = ["Plan", "draw_plan", "plan_lines", "rounds_of"]

_ROUND_BITS = 32
_KIND_KEPT = 0.6
"""The share of the kinds of faults that a round has."""
_COPY_WEIGHT = 2
"""Copies are rarer than batches; their faults are drawn so much more often."""
_PICKS = 1 << 16
_NS_PER_MS = 1_000_000
_UNTIL_HEAL = {FaultKind.BATCH_LOST: 12, FaultKind.COPY_LOST: 12, FaultKind.ESTIMATES_MAD: 4}
"""One fault of so many lasts until the heal; reports seldom, for what they freeze leaves little of a small pool."""
_PATIENCE_STEPS = (1, 20, 400)
_SHOWN_LIMITS = (
    "device_blocks", "host_blocks", "block_tokens", "step_tokens_max", "batch_turns_max", "steps_max", "bypass_max",
    "preemptions_max", "growth_ahead_steps", "blocked_scan_max", "turns_max", "tenant_turns_max",
    "tenant_kv_blocks_max",
)  # fmt: skip


@frozen(slots=True, kw_only=True)
class Plan:
    """What happens in one round, as far as it is decided beforehand."""

    seed: int
    round: int
    policy: str
    profile: EngineProfile
    limits: Limits
    jobs: tuple[JobSpec, ...]
    """By arrival."""
    faults: tuple[Fault, ...]
    """By time."""
    horizon_us: int
    """When the safety phase ends and the heal begins."""
    drains: bool
    """Whether the heal begins with ``Drain``."""
    eager: bool
    """Whether ``decide`` is called after every event, while a batch is under way too."""
    slack: int
    """Clients ask for this many times the output that will come, at most; 0: for much more."""
    one_step: bool
    """Whether the engine reports after every step."""

    @property
    def mad(self) -> bool:
        """Whether the estimates go mad at some time."""
        return any(fault.kind is FaultKind.ESTIMATES_MAD for fault in self.faults)


def draw_plan(seed: int, number: int, policy: str) -> Plan:
    """Return the plan of a round; :class:`UsageError` for a negative seed or number."""
    if seed < 0 or not 0 <= number < 1 << _ROUND_BITS:
        raise UsageError(f"a seed and a round must be whole numbers of at least 0, not {seed} and {number}")
    dice = Dice(seed << _ROUND_BITS | number)
    profile = _draw_profile(dice)
    limits = _draw_limits(dice, profile)
    jobs = draw_jobs(dice, profile, limits, chosen(dice, (6, 20, 60, 60, 150)))
    last_us = jobs[-1].arrival_us or 0
    horizon_us = last_us + last_us // 10 + 10 * profile.step_ns // 1000
    return Plan(
        seed=seed, round=number, policy=policy, profile=profile, limits=limits, jobs=jobs,
        faults=_draw_faults(dice, horizon_us, len(jobs), profile.step_ns // 1000), horizon_us=horizon_us,
        drains=dice.below(2) == 0, slack=chosen(dice, (0, 1, 2, 8)),
        eager=dice.below(3) == 0, one_step=dice.below(8) == 0,
    )  # fmt: skip


def rounds_of(seed: int, policy: str, span_us: int) -> Iterator[Plan]:
    """Yield the plans of a seed, round 0 first, until their horizons add up to ``span_us``; at least one."""
    number, planned_us = 0, 0
    while not number or planned_us < span_us:
        plan = draw_plan(seed, number, policy)
        yield plan
        number, planned_us = number + 1, planned_us + plan.horizon_us


def _draw_profile(dice: Dice) -> EngineProfile:
    block = chosen(dice, (1, 4, 16, 16))
    blocks = chosen(dice, (10, 16, 24, 40, 40, 150, 600))
    blocks += dice.below(blocks)
    step_ns = chosen(dice, (2, 10, 40, 150)) * _NS_PER_MS
    swap_share = chosen(dice, (100, 2_000, 100_000))
    return EngineProfile(
        name="drawn", summary="drawn for one round", source="a seed", step_ns=step_ns,
        prefill_ns_per_token=step_ns // chosen(dice, (20, 500)),
        read_ps_per_context_token=1000 * step_ns // chosen(dice, (5_000, 100_000)), attention_ps_per_token_pair=400,
        pool_tokens=blocks * block, context_tokens_max=blocks * block,
        step_tokens_max=chosen(dice, (1, 8, 64, 512, 2_048)), batch_turns_max=chosen(dice, (1, 2, 4, 8, 64)),
        block_tokens=block, kv_bytes_per_token=max(1, step_ns // swap_share), host_bytes_per_s=1_000_000_000,
    )  # fmt: skip


def _draw_limits(dice: Dice, profile: EngineProfile) -> Limits:
    """Return limits for the engine, its pools tight in every way that can be set; its costs may be told wrongly."""
    true = limits_for(profile, chosen(dice, (0.0, 0.5, 1.0, 4.0)))
    blocks, costs = true.device_blocks, true.costs
    if dice.below(4) == 0:
        costs = EngineCosts(step_ns=1, prefill_ns_per_token=1 << dice.below(50), swap_ns_per_token=1 << dice.below(50))
    return Limits(
        device_blocks=blocks, host_blocks=true.host_blocks, block_tokens=true.block_tokens,
        step_tokens_max=true.step_tokens_max, batch_turns_max=true.batch_turns_max,
        steps_max=chosen(dice, (1, 16, 1_024, 1_024)), bypass_max=chosen(dice, (0, 1, 2, 6, 40)),
        preemptions_max=dice.below(4), growth_ahead_steps=chosen(dice, (1, 4, 32)),
        blocked_scan_max=chosen(dice, (1, 3, 256)), turns_max=chosen(dice, (4, 30, 1_000, 1_000)),
        tenant_turns_max=chosen(dice, (3, 1_000, 1_000)),
        tenant_kv_blocks_max=chosen(dice, (None, None, None, max(1, blocks // 2))),
        retry_after_us=20 * profile.step_ns // 1000, costs=costs,
        tuning=Tuning(keep_tenths=chosen(dice, (0, 35, 35, 1_000)), growth_permille=chosen(dice, (0, 500, 5_000))),
    )  # fmt: skip


def _draw_faults(dice: Dice, horizon_us: int, jobs: int, step_us: int) -> tuple[Fault, ...]:
    kinds = [kind for kind in FaultKind if dice.uniform() < _KIND_KEPT]
    count = int(jobs * chosen(dice, (0.1, 0.5, 1.5))) if kinds else 0
    kinds += [kind for kind in kinds if TARGETS[kind] is Target.COPY] * _COPY_WEIGHT
    faults = [_draw_fault(dice, chosen(dice, kinds), horizon_us, step_us) for _ in range(count)]
    return tuple(sorted(faults, key=lambda fault: (fault.at_us, fault.kind, fault.pick)))


def _draw_fault(dice: Dice, kind: FaultKind, horizon_us: int, step_us: int) -> Fault:
    span_us: int | None = step_us * chosen(dice, _PATIENCE_STEPS) * (1 + dice.below(4))
    if dice.below(_UNTIL_HEAL.get(kind, 1)) == 0 and kind in _UNTIL_HEAL:
        span_us = None
    return Fault(dice.below(horizon_us), kind, dice.below(_PICKS), span_us)


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as a person reads it."""
    profile, limits = plan.profile, plan.limits
    turns = sum(len(job.turns) for job in plan.jobs)
    sessions = len({(job.tenant, job.session_id) for job in plan.jobs})
    habits = [text for text, is_so in _habits(plan) if is_so]
    shown = ", ".join(f"{name} {getattr(limits, name)}" for name in _SHOWN_LIMITS)
    tenants = len({job.tenant for job in plan.jobs})
    costs = ", ".join(
        f"{ns / _NS_PER_MS:g} ms {what}"
        for ns, what in (
            (profile.step_ns, "a step"),
            (profile.prefill_ns_per_token, "a token"),
            (profile.swap_ns_per_token, "a token copied"),
        )
    )
    work = f"{len(plan.jobs)} jobs of {turns} turns, {sessions} sessions, {tenants} tenants"
    lines = [
        f"seed {plan.seed}, round {plan.round}, policy {plan.policy}",
        f"  engine: {costs}",
        f"  limits: {shown}",
        f"  work: {work}, up to {plan.horizon_us / US_PER_S:.3f} s",
        f"  habits: {', '.join(habits) or 'none'}",
        f"  faults: {len(plan.faults)}",
    ]
    return lines + [f"  {fault}" for fault in plan.faults]


def _habits(plan: Plan) -> Iterator[tuple[str, bool]]:
    yield "drains at the heal", plan.drains
    yield "decide after every event", plan.eager
    yield "one step a batch", plan.one_step
    yield f"at most {plan.slack} times the output asked for", bool(plan.slack)
    yield "false engine costs", plan.limits.costs.step_ns != plan.profile.step_ns
