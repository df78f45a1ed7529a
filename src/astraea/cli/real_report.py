"""What real runs came to beside what the simulator said, in figures, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import asdict, evolve, frozen
from rich.table import Table

from astraea.cli.tables import console, seconds_text, whole_text
from astraea.errors import InvariantError
from astraea.simulator.agents import stages_of
from astraea.simulator.jobs import JobSpec
from astraea.simulator.results import JobResult, RunResult
from astraea.simulator.verdict import percentile
from astraea.trace.check import check_trace
from astraea.trace.entries import EndEntry
from astraea.trace.figures import run_figures
from astraea.trace.reader import read_trace
from astraea.units import US_PER_S

__all__ = ["RealVerdict", "SeedFigures", "combined", "judge_real", "print_real"]


@frozen(slots=True, kw_only=True)
class SeedFigures:
    """One real run: one policy, one seed."""

    seed: int
    mean_jct_s: float
    p50_jct_s: float
    p95_jct_s: float
    p99_jct_s: float
    mean_service_s: float
    """Completion time less the tool waits on the way."""
    mean_queue_s: float
    recomputed_share: float
    swapped_tokens: int
    preemptions: int
    throughput_jobs_per_s: float
    worst_bypass: int
    digest: str
    predicted_jct_s: float
    """What the simulator says of the same jobs on the calibrated profile."""
    predicted_service_s: float

    @property
    def jct_error(self) -> float:
        """How far the prediction is off, as a share of what was measured, with its sign."""
        return self.predicted_jct_s / self.mean_jct_s - 1

    @property
    def service_error(self) -> float:
        """The same of the completion time less the tool waits."""
        return self.predicted_service_s / self.mean_service_s - 1


@frozen(slots=True, kw_only=True)
class RealVerdict:
    """One policy over all seeds: means of the figures, and the largest bypass."""

    policy: str
    mean: SeedFigures
    per_seed: tuple[SeedFigures, ...]

    def as_json(self) -> dict[str, object]:
        """Return the figures under their names, ready for JSON."""
        record: dict[str, object] = {"policy": self.policy, **_figures(self.mean)}
        del record["seed"]
        record["per_seed"] = [_figures(figures) for figures in self.per_seed]
        return record


def _figures(figures: SeedFigures) -> dict[str, object]:
    return {
        **asdict(figures),
        "jct_error_percent": round(100 * figures.jct_error, 2),
        "service_error_percent": round(100 * figures.service_error, 2),
    }


def judge_real(
    seed: int, jobs: Sequence[JobSpec], results: Sequence[JobResult], trace: Path, predicted: RunResult
) -> SeedFigures:
    """Return the figures of one real run from its trace and its jobs, beside those of the simulated one.

    Raises :class:`InvariantError` where the trace breaks a claim.
    """
    report = check_trace(read_trace(trace))
    if report.breach is not None:
        raise InvariantError(report.breach.claim, f"{trace}:{report.breach.line}: {report.breach.sentence}")
    figures = run_figures(read_trace(trace))
    (digest,) = [entry.digest for entry in read_trace(trace) if isinstance(entry, EndEntry)]
    waits_s = {job.job_id: _waited_us(job) / US_PER_S for job in jobs}
    jcts_s = [result.jct_us / US_PER_S for result in results]
    span_us = max(result.finished_us for result in results) - min(result.arrival_us for result in results)
    mean_wait_s = fmean(waits_s.values())
    predicted_s = fmean(result.jct_us / US_PER_S for result in predicted.jobs)
    return SeedFigures(
        seed=seed,
        mean_jct_s=fmean(jcts_s),
        p50_jct_s=percentile(jcts_s, 50),
        p95_jct_s=percentile(jcts_s, 95),
        p99_jct_s=percentile(jcts_s, 99),
        mean_service_s=fmean(jcts_s) - mean_wait_s,
        mean_queue_s=fmean(figures.queue_us(result.job_id) / US_PER_S for result in results),
        recomputed_share=figures.recomputed_tokens / max(1, figures.prefill_tokens),
        swapped_tokens=figures.swapped_tokens,
        preemptions=figures.preemptions,
        throughput_jobs_per_s=len(results) * US_PER_S / max(1, span_us),
        worst_bypass=report.worst_bypass,
        digest=digest,
        predicted_jct_s=predicted_s,
        predicted_service_s=predicted_s - mean_wait_s,
    )


def _waited_us(job: JobSpec) -> int:
    """Return the tool waits on a job's way: of turns side by side the longest counts."""
    return sum(max(turn.tool_wait_us for turn in stage) for stage in stages_of(job.turns)[:-1])


def combined(policy: str, seeds: Sequence[SeedFigures]) -> RealVerdict:
    """Return the verdict on a policy from the figures of its seeds."""
    first, *rest = seeds
    if not rest:
        return RealVerdict(policy=policy, mean=first, per_seed=(first,))
    means: dict[str, Any] = {
        name: fmean(getattr(figures, name) for figures in seeds)
        for name, value in asdict(first).items()
        if isinstance(value, int | float)
    }
    means["worst_bypass"] = max(figures.worst_bypass for figures in seeds)
    return RealVerdict(policy=policy, mean=evolve(first, **means, digest=""), per_seed=tuple(seeds))


def print_real(title: str, caption: str, verdicts: Sequence[RealVerdict]) -> None:
    """Print a row a policy to standard output, the least mean completion time in bold."""
    table = Table(title=title, caption=caption, caption_justify="left", title_justify="left")
    table.add_column("policy", no_wrap=True)
    for header in (
        "mean JCT\ns", "p50\ns", "p95\ns", "p99\ns", "less tool\nwaits s", "queue\ns", "recom-\nputed",
        "swapped\ntokens", "preemp-\ntions", "jobs/s", "bypass\nworst", "predicted\nJCT s", "\nerror",
        "less waits\ns", "\nerror",
    ):  # fmt: skip
        table.add_column(header, justify="right", no_wrap=True)
    best = min(verdict.mean.mean_jct_s for verdict in verdicts)
    for verdict in verdicts:
        mean = verdict.mean
        jct = seconds_text(mean.mean_jct_s)
        table.add_row(
            verdict.policy,
            f"[bold]{jct}[/bold]" if mean.mean_jct_s == best and len(verdicts) > 1 else jct,
            *(seconds_text(value) for value in (mean.p50_jct_s, mean.p95_jct_s, mean.p99_jct_s)),
            seconds_text(mean.mean_service_s),
            seconds_text(mean.mean_queue_s),
            f"{mean.recomputed_share:.1%}",
            whole_text(mean.swapped_tokens),
            whole_text(mean.preemptions),
            f"{mean.throughput_jobs_per_s:.4g}",
            whole_text(mean.worst_bypass),
            seconds_text(mean.predicted_jct_s),
            f"{mean.jct_error:+.1%}",
            seconds_text(mean.predicted_service_s),
            f"{mean.service_error:+.1%}",
        )
    console().print(table)
