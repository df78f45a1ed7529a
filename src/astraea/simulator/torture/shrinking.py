"""Makes a plan that breaks a claim smaller, as long as it breaks the same one. Deterministic, and greedy.

First what comes after the breach goes; then faults, jobs and turns, in halves, quarters and so on down to single ones;
then outputs and habits. Each candidate is carried out and judged twice, up to a number of candidates: once with every
snapshot looked at, which ends at the first sight of the breach, and once with none, which goes on to where the trace
checker sees one. Both must see what they saw at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from attrs import evolve, frozen

from astraea.simulator.jobs import JobSpec
from astraea.simulator.torture.plan import Plan
from astraea.simulator.torture.verdict import RoundVerdict, carry_out
from astraea.trace.check_report import Breach

__all__ = ["TRIES_MAX", "Shrunk", "shrink"]

TRIES_MAX = 300
"""Most candidates of one shrinking: enough to come down to a handful of jobs in seconds."""

_T = TypeVar("_T")


@frozen(slots=True)
class Shrunk:
    """The smallest plan found, and what two runs of it came to."""

    seen: RoundVerdict
    """With every snapshot judged: it stops at the first sight."""
    traced: RoundVerdict
    """With no snapshot judged."""

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.seen.plan

    @property
    def shown(self) -> RoundVerdict:
        """The run whose trace shows the breach to the trace checker, if either does."""
        return self.traced if self.traced.breach is not None else self.seen

    @property
    def kind(self) -> tuple[str, str]:
        """What a smaller plan must break too."""
        return self.seen.claim, _named(self.traced.breach)


def _named(breach: Breach | None) -> str:
    return "" if breach is None else breach.claim


def _both(plan: Plan) -> Shrunk:
    return Shrunk(carry_out(plan, look_every=1), carry_out(plan, look_every=0))


def shrink(plan: Plan, tries_max: int = TRIES_MAX) -> Shrunk:
    """Return the smallest plan found that breaks what ``plan`` breaks; ``plan`` itself if it breaks nothing."""
    best = _both(plan)
    return best if best.seen.ok else _Shrinking(best, tries_max).smallest()


class _Shrinking:
    def __init__(self, best: Shrunk, tries_max: int) -> None:
        self._best = best
        self._tries_left = tries_max

    def smallest(self) -> Shrunk:
        """Go through all ways of making the plan smaller until none of them works."""
        self._accepts(_cut_off(self._best.plan, self._best.seen.simulated_us))
        smaller = True
        while smaller and self._tries_left:
            smaller = self._fewer_jobs()
            smaller |= self._fewer_faults()
            smaller |= self._fewer_turns()
            smaller |= any([self._accepts(plan) for plan in _plainer(self._best.plan)])  # noqa: C419 - try them all
        return self._best

    def _accepts(self, plan: Plan) -> bool:
        """Carry out a smaller plan and keep it if it breaks the same claim."""
        if plan == self._best.plan or not plan.jobs or not self._tries_left:
            return False
        self._tries_left -= 1
        smaller = _both(plan)
        if smaller.kind != self._best.kind:
            return False
        self._best = smaller
        return True

    def _fewer_jobs(self) -> bool:
        return self._without(lambda plan: plan.jobs, lambda plan, jobs: evolve(plan, jobs=tuple(jobs)))

    def _fewer_faults(self) -> bool:
        return self._without(lambda plan: plan.faults, lambda plan, faults: evolve(plan, faults=tuple(faults)))

    def _without(self, parts: Callable[[Plan], Sequence[_T]], put: Callable[[Plan, list[_T]], Plan]) -> bool:
        """Leave out parts of a plan: ever smaller runs of neighbours, as long as one can be left out."""
        any_smaller = False
        size = max(1, len(parts(self._best.plan)) // 2)
        while size:
            start, smaller = 0, False
            while start < len(parts(self._best.plan)):
                kept = list(parts(self._best.plan))
                del kept[start : start + size]
                if self._accepts(put(self._best.plan, kept)):
                    smaller = any_smaller = True
                else:
                    start += size
            if not smaller or size == 1:
                size //= 2
        return any_smaller

    def _fewer_turns(self) -> bool:
        """Let jobs have half their turns, and turns half their output."""
        smaller = False
        for number in range(len(self._best.plan.jobs)):
            for halve in (_fewer, _shorter):
                jobs = list(self._best.plan.jobs)
                jobs[number] = halve(jobs[number])
                smaller |= self._accepts(evolve(self._best.plan, jobs=tuple(jobs)))
        return smaller


def _cut_off(plan: Plan, end_us: int) -> Plan:
    """Leave out what comes after the breach."""
    return evolve(
        plan,
        jobs=tuple(job for job in plan.jobs if (job.arrival_us or 0) <= end_us),
        faults=tuple(fault for fault in plan.faults if fault.at_us <= end_us),
    )


def _fewer(job: JobSpec) -> JobSpec:
    return evolve(job, turns=job.turns[: (len(job.turns) + 1) // 2])


def _shorter(job: JobSpec) -> JobSpec:
    return evolve(job, turns=tuple(evolve(turn, output_tokens=(turn.output_tokens + 1) // 2) for turn in job.turns))


def _plainer(plan: Plan) -> Iterator[Plan]:
    """Yield the plan without each of its habits."""
    yield evolve(plan, drains=False)
    yield evolve(plan, eager=False)
    yield evolve(plan, one_step=False)
