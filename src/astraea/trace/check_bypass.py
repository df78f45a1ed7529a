"""LIVE-1 counted again from its definition: every dispatch of a later-arrived job bypasses each job that waits.

The dispatches of a ``decide`` stand in its ``RunBatch``, after its copies, whatever their order was. So a ``SwapIn``
is judged when all of them are known: it may not pass a job that was at the bound before and waits even then.
"""

from __future__ import annotations

from attrs import Factory, define

from astraea.trace.check_jobs import Jobs
from astraea.trace.check_records import Job, Turn, broken

__all__ = ["Bypasses"]


@define(slots=True, eq=False)
class Bypasses:
    """Counts the bypasses of all live jobs by looking at every waiting turn at every dispatch."""

    jobs: Jobs
    bound: int | None
    """K, or ``None`` where the policy keeps no bound and nothing is judged."""
    worst: int = 0
    _bound_before: list[Job] = Factory(list)
    _returned: list[tuple[Turn, int]] = Factory(list)

    def waiting_jobs(self) -> list[Job]:
        """Return the jobs that have a turn waiting, each once."""
        return list(dict.fromkeys(turn.job for turn in self.jobs.waiting.values()))

    def promoted(self, job: Job) -> bool:
        """Say whether a job has reached the bound."""
        return self.bound is not None and job.bypasses >= self.bound

    def stands_before(self, turn: Turn) -> bool:
        """Say whether a waiting job at the bound keeps a waiting turn from being placed."""
        first = min((job.arrival for job in self.waiting_jobs() if self.promoted(job)), default=None)
        return first is not None and first != turn.job.arrival

    def dispatched(self, turn: Turn) -> None:
        """Count a dispatch; the turn waits no more."""
        for job in self.waiting_jobs():
            if job.arrival >= turn.job.arrival:
                continue
            job.bypasses += 1
            self.worst = max(self.worst, job.bypasses)
            if self.bound is not None and job.bypasses > self.bound:
                numbers = f"{job.bypasses} bypasses; bypass_max is {self.bound}"
                broken("LIVE-1", f"turn {turn.turn_id!r} is dispatched past job {job.job_id!r}, which has {numbers}")

    def begin(self) -> None:
        """Note, when a ``decide`` begins, which jobs are at the bound and wait."""
        self._bound_before = [job for job in self.waiting_jobs() if self.promoted(job)]
        self._returned = []

    def returned(self, turn: Turn, line: int) -> None:
        """Note a ``SwapIn``; the dispatches of its ``decide`` may have come before it."""
        self._returned.append((turn, line))

    def end(self) -> tuple[int, str] | None:
        """Return the line and the fault of a ``SwapIn`` that passed a job at the bound that still waits."""
        still = [job for job in self._bound_before if any(turn.waits for turn in job.turns.values())]
        for turn, line in self._returned:
            for job in still:
                if job.arrival < turn.job.arrival:
                    numbers = f"{job.bypasses} bypasses of {self.bound}"
                    return line, f"SwapIn for turn {turn.turn_id!r} passes job {job.job_id!r}, which has {numbers}"
        return None
