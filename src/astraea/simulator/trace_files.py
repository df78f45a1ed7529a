"""Loads recorded agent work from files, whichever of the public forms they have.

The form is told by the content, never by a flag:

====================  ================================================================
a folder              kv-cache-tester, every ``.json`` file a session
header ``TIMESTAMP``  Azure's CSV
lines with ``turns``  the project's own form
lines with hash ids   Mooncake
one JSON object       kv-cache-tester, one session
====================  ================================================================
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from astraea.errors import TraceError, UsageError
from astraea.simulator.jobs import JobSpec
from astraea.simulator.trace_forms.azure import AZURE_COLUMNS, read_azure
from astraea.simulator.trace_forms.kv_cache_tester import read_session, read_session_folder
from astraea.simulator.trace_forms.mooncake import read_mooncake
from astraea.simulator.trace_forms.project import read_project
from astraea.simulator.trace_forms.reading import Place, numbered_lines

__all__ = ["filter_jobs", "load_trace"]


def load_trace(path: str | Path) -> list[JobSpec]:
    """Return the jobs that a file, or a folder of sessions, records.

    Raises :class:`UsageError` where the path cannot be read, and :class:`TraceError` with the line where the content is
    of no known form, malformed, or holds no job.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no such trace")
    jobs = read_session_folder(path) if path.is_dir() else _read_file(path)
    if not jobs:
        raise TraceError(str(path), 1, "the trace holds no job")
    return jobs


def _read_file(path: Path) -> list[JobSpec]:
    source = str(path)
    lines = numbered_lines(path)
    if not lines:
        return []
    number, first = lines[0]
    if first.split(",")[0].strip() == AZURE_COLUMNS[0]:
        return read_azure(source, lines)
    if not first.startswith("{"):
        Place(source, number).fail("neither a JSON object nor Azure's header: the form of this trace is not known")
    return _read_json(source, lines)


def _read_json(source: str, lines: list[tuple[int, str]]) -> list[JobSpec]:
    """Read a file that begins with an object: one object a line, or one object over all lines."""
    number, first = lines[0]
    place = Place(source, number)
    try:
        record = place.record(place.json(first))
    except TraceError:
        if len(lines) == 1 or _looks_complete(first):
            raise
        record = place.record(place.json(_joined(lines)))
        if "requests" not in record:
            place.fail("an object over several lines must be a session with requests")
    if "requests" in record:
        return read_session(source, record if len(lines) == 1 else place.json(_joined(lines)))
    if "turns" in record or "job_id" in record:
        return read_project(source, lines)
    if "input_length" in record or "hash_ids" in record:
        return read_mooncake(source, lines)
    return place.fail("the keys are those of no known form of trace")


def _looks_complete(line: str) -> bool:
    """Tell a damaged line of a file of lines from the first line of an object spread over many."""
    return line.endswith("}")


def _joined(lines: list[tuple[int, str]]) -> str:
    """Return the lines as one text with every line at its number, counted from the first of them."""
    rows: list[str] = []
    for number, text in lines:
        rows.extend([""] * (number - lines[0][0] - len(rows)))
        rows.append(text)
    return "\n".join(rows)


def filter_jobs(
    jobs: list[JobSpec], *, tokens_max: int, min_turns: int = 1, tool_cap_us: int | None = None
) -> tuple[list[JobSpec], int]:
    """Return the jobs that an engine that serves ``tokens_max`` tokens a turn can take, and how many are left out.

    Left out are jobs whose largest prompt plus output exceeds the pool and jobs of fewer than ``min_turns`` turns.
    Tool waits longer than ``tool_cap_us`` are cut to it. Raises :class:`UsageError` for a bound that is not positive
    (for the cap: that is negative).
    """
    if tokens_max < 1 or min_turns < 1 or (tool_cap_us is not None and tool_cap_us < 0):
        raise UsageError("tokens_max and min_turns must be at least 1, and the cap on tool waits not negative")
    kept = [job for job in jobs if len(job.turns) >= min_turns and job.peak_tokens <= tokens_max]
    left_out_count = len(jobs) - len(kept)
    if tool_cap_us is None:
        return kept, left_out_count
    return [_capped(job, tool_cap_us) for job in kept], left_out_count


def _capped(job: JobSpec, cap_us: int) -> JobSpec:
    if all(turn.tool_wait_us <= cap_us for turn in job.turns):
        return job
    turns = (evolve(turn, tool_wait_us=min(turn.tool_wait_us, cap_us)) for turn in job.turns)
    return evolve(job, turns=tuple(turns))
