"""Counts how often each job is passed: by its definition, with a look at every job at every start."""

from __future__ import annotations

from astraea.testing.adapter import Request

__all__ = ["Bypasses"]


class Bypasses:
    """Bypasses by unit: a job, or for a scheduler that knows no jobs a request; in the order of their arrival."""

    def __init__(self, *, knows_jobs: bool) -> None:
        self._knows_jobs = knows_jobs
        self._arrivals: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, str] = {}
        """Unit by waiting request."""
        self.worst: tuple[int, str] = (0, "")
        """The most that any was passed so far, and which."""

    def _unit(self, request: Request) -> str:
        return request.job_id if self._knows_jobs else request.request_id

    def wait(self, request: Request) -> None:
        """Let a request wait: it was submitted, or preempted."""
        unit = self._unit(request)
        self._arrivals.setdefault(unit, len(self._arrivals))
        self._counts.setdefault(unit, 0)
        self._waiting[request.request_id] = unit

    def unwait(self, request: Request) -> None:
        """Let a request that waits wait no longer; nobody is passed by that."""
        self._waiting.pop(request.request_id, None)

    def start(self, request: Request) -> int:
        """Let a request start, and count it against every earlier unit with one that waits.

        Return how many other units wait: those that it could have passed, had they come before it.
        """
        self.unwait(request)
        arrival = self._arrivals[self._unit(request)]
        passed = sorted({unit for unit in self._waiting.values() if self._arrivals[unit] < arrival})
        for unit in passed:
            self._counts[unit] += 1
            self.worst = max(self.worst, (self._counts[unit], unit), key=lambda pair: pair[0])
        return len({*self._waiting.values()} - {self._unit(request)})
