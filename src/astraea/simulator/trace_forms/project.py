"""The project's own form: JSON lines, one job a line, counts only.

``{"job_id", "arrival_s", "turns": [{"new_prompt_tokens", "context_tokens", "output_tokens", "tool", "tool_s"}]}``

Optional on the job: ``session_id``, ``tenant``, and ``shared_prefix_id`` with ``shared_prefix_tokens``; on a turn:
``parallel_group``. Any other key is ignored. Agents edit their history, so a prompt need not be the previous prompt,
output and addition put together, and may shrink.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_forms.reading import Place

__all__ = ["read_project"]


def read_project(source: str, lines: list[tuple[int, str]]) -> list[JobSpec]:
    """Return the jobs of a file, in its order; :class:`TraceError` at the first line that is none."""
    jobs: list[JobSpec] = []
    seen: set[str] = set()
    for number, text in lines:
        place = Place(source, number)
        job = _job(place, place.record(place.json(text)))
        if job.job_id in seen:
            place.fail(f"the job_id {job.job_id!r} was used on an earlier line")
        seen.add(job.job_id)
        jobs.append(job)
    return jobs


def _job(place: Place, record: dict[str, Any]) -> JobSpec:
    job_id = place.text(record, "job_id", "")
    if not job_id:
        place.fail("the key job_id is missing or empty")
    rows = place.rows(record, "turns")
    if not rows:
        place.fail("turns is empty")
    turns = [_turn(place.at(f"turn {index}"), row) for index, row in enumerate(rows, start=1)]
    prefix_id = place.text(record, "shared_prefix_id", "")
    return JobSpec(
        job_id=job_id,
        turns=_ended(turns),
        arrival_us=place.seconds_us(record, "arrival_s"),
        session_id=place.text(record, "session_id", ""),
        tenant=place.text(record, "tenant", "default"),
        shared_prefix_id=prefix_id,
        shared_prefix_tokens=place.count(record, "shared_prefix_tokens", 1) if prefix_id else 0,
    )


def _turn(place: Place, value: object) -> TurnSpec:
    row = place.record(value)
    context_tokens = place.count(row, "context_tokens", 1)
    new_prompt_tokens = place.count(row, "new_prompt_tokens", 1)
    if new_prompt_tokens > context_tokens:
        place.fail(f"new_prompt_tokens {new_prompt_tokens} is more than context_tokens {context_tokens}")
    return TurnSpec(
        new_prompt_tokens=new_prompt_tokens,
        context_tokens=context_tokens,
        output_tokens=place.count(row, "output_tokens", 1),
        tool=place.text(row, "tool", "") or None,
        tool_wait_us=place.seconds_us(row, "tool_s") or 0,
        parallel_group=place.count(row, "parallel_group", 0) if row.get("parallel_group") is not None else None,
    )


def _ended(turns: list[TurnSpec]) -> tuple[TurnSpec, ...]:
    """Return the turns with no wait after the last one, or after the last group where that ends the job."""
    group = turns[-1].parallel_group
    first = len(turns) - 1
    while group is not None and first > 0 and turns[first - 1].parallel_group == group:
        first -= 1
    return (*turns[:first], *(evolve(turn, tool_wait_us=0) for turn in turns[first:]))
