"""What one simulated run of one policy came to."""

from __future__ import annotations

from attrs import frozen

__all__ = ["JobResult", "RunResult"]


@frozen(slots=True)
class JobResult:
    """How one job fared."""

    job_id: str
    arrival_us: int
    finished_us: int
    alone_us: int
    """The job's time alone on the engine, tool waits included."""
    tool_wait_us: int
    queue_us: int
    """Time during which some turn of the job waited."""
    turns: int

    @property
    def jct_us(self) -> int:
        """Job completion time: from arrival to the last token, tool waits included."""
        return self.finished_us - self.arrival_us


@frozen(slots=True)
class RunResult:
    """A run of one policy over one list of jobs."""

    policy: str
    digest: str
    """SHA-256 over the per-step expansion of all decisions; equal for one step or many at a time."""
    jobs: tuple[JobResult, ...]
    """In order of arrival."""
    makespan_us: int
    busy_us: int
    steps: int
    prefill_tokens: int
    """Prompt tokens computed, recomputed ones included."""
    recomputed_tokens: int
    """Of these, tokens that had been computed before in the same context."""
    swapped_tokens: int
    preemptions: int
    worst_bypass: int
    bypass_bound: int | None
    """``None`` where the policy states no bound."""
    decide_us_p50: float
    """Wall time of one ``decide``: a measurement of this machine, not part of the simulation."""
    decide_us_p99: float
