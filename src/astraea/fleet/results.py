"""How long the jobs of a fleet took, and the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from attrs import asdict, define, frozen

from astraea.errors import UsageError
from astraea.simulator.verdict import percentile
from astraea.units import US_PER_S

__all__ = ["FleetVerdict", "JobRecord", "judge_fleet"]


@define(slots=True, kw_only=True)
class JobRecord:
    """One job that an agent has done, or given up."""

    job_id: str
    jct_us: int = 0
    """From the first request to the end of the last answer."""
    tool_wait_us: int = 0
    """The time in tools on the way; of branches side by side, that of the main one."""
    turns: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of these, tokens that the server did not compute again."""
    output_tokens: int = 0
    error: str = ""
    """Why it was given up; empty for a job that is done."""


@frozen(slots=True, kw_only=True)
class FleetVerdict:
    """The figures of one run; those of jobs are over the jobs that were done."""

    label: str
    jobs: int
    failed: int
    first_error: str
    turns: int
    mean_jct_s: float
    p50_jct_s: float
    p95_jct_s: float
    p99_jct_s: float
    mean_service_s: float
    """Completion time less the tool waits on the way."""
    prompt_tokens: int
    cached_share: float
    output_tokens: int
    throughput_jobs_per_s: float
    output_tokens_per_s: float
    wall_s: float

    def as_json(self) -> dict[str, object]:
        """Return the figures under their names, ready for JSON."""
        return asdict(self)


def judge_fleet(label: str, records: Sequence[JobRecord], wall_s: float) -> FleetVerdict:
    """Return the figures of a run; raises :class:`UsageError` where no job was done."""
    done = [record for record in records if not record.error]
    errors = [record.error for record in records if record.error]
    if not done:
        raise UsageError(f"none of the {len(records)} jobs was done; the first: {errors[0]}")
    jcts_s = [record.jct_us / US_PER_S for record in done]
    prompt_tokens = sum(record.prompt_tokens for record in records)
    output_tokens = sum(record.output_tokens for record in records)
    return FleetVerdict(
        label=label,
        jobs=len(records),
        failed=len(errors),
        first_error=errors[0] if errors else "",
        turns=sum(record.turns for record in records),
        mean_jct_s=round(fmean(jcts_s), 6),
        p50_jct_s=percentile(jcts_s, 50),
        p95_jct_s=percentile(jcts_s, 95),
        p99_jct_s=percentile(jcts_s, 99),
        mean_service_s=round(fmean((record.jct_us - record.tool_wait_us) / US_PER_S for record in done), 6),
        prompt_tokens=prompt_tokens,
        cached_share=round(sum(record.cached_tokens for record in records) / max(1, prompt_tokens), 6),
        output_tokens=output_tokens,
        throughput_jobs_per_s=round(len(done) / wall_s, 6),
        output_tokens_per_s=round(output_tokens / wall_s, 6),
        wall_s=round(wall_s, 6),
    )
