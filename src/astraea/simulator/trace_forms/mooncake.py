"""Mooncake's form: JSON lines, one request a line, as released with the FAST '25 paper (Qin et al.).

``{"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [id of each prompt block, ...]}``

A block is 512 tokens; equal leading ids mean an equal beginning of the prompt; the last block may be partial.

The release names no sessions. They are inferred, which is an assumption: a request follows an earlier one when all the
blocks of the earlier one but its last are the beginning of its own (two such blocks at least, for the first block is a
system prompt that nearly all share), and its prompt has room for the earlier prompt and answer. Of several such earlier
requests that nothing follows yet, the one with the longest prompt is taken, and of these the most recent. A follower is
the next turn of the same job; the wait before it is the whole gap between the two time stamps, the earlier answer's
generation included, for that time is not recorded; what is waited for is called ``user``. Any other request starts a
job.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import Factory, define

from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_forms.reading import Place
from astraea.units import us_from_seconds

__all__ = ["read_mooncake"]

_LINK_BLOCKS_MIN = 2


@define(slots=True)
class _Request:
    """One line; ``following`` are the requests that came to be the next turns of the job it starts."""

    at_us: int
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...]
    following: list[_Request] = Factory(list)

    @property
    def whole_blocks(self) -> tuple[int, ...]:
        return self.hash_ids[:-1]


_OpenEnds = dict[tuple[int, ...], list[tuple[_Request, _Request]]]
"""By whole blocks: requests that nothing follows yet, oldest first, each with the start of its job."""


def read_mooncake(source: str, lines: list[tuple[int, str]]) -> list[JobSpec]:
    """Return the jobs of a file by arrival; :class:`TraceError` at the first line that is no request."""
    requests = []
    for number, text in lines:
        place = Place(source, number)
        requests.append(_request(place, place.record(place.json(text))))
    requests.sort(key=lambda request: request.at_us)
    return [_job(f"mooncake-{index}", start) for index, start in enumerate(_link(requests))]


def _request(place: Place, record: dict[str, Any]) -> _Request:
    hash_ids = place.rows(record, "hash_ids")
    for value in hash_ids:
        if isinstance(value, bool) or not isinstance(value, int):
            place.fail("hash_ids must hold whole numbers only")
    if "timestamp" not in record:
        place.fail("the key timestamp is missing")
    stamp_ms = place.number(record["timestamp"], "timestamp")
    return _Request(
        at_us=us_from_seconds(Decimal(stamp_ms) / 1000),
        input_tokens=place.count(record, "input_length", 1),
        output_tokens=place.count(record, "output_length", 1),
        hash_ids=tuple(hash_ids),
    )


def _link(requests: list[_Request]) -> list[_Request]:
    """Return the requests that start a job, each with those that follow it."""
    starts: list[_Request] = []
    open_ends: _OpenEnds = {}
    for request in requests:
        start = _take_start(open_ends, request)
        if start is None:
            start = request
            starts.append(request)
        else:
            start.following.append(request)
        if len(request.whole_blocks) >= _LINK_BLOCKS_MIN:
            open_ends.setdefault(request.whole_blocks, []).append((request, start))
    return starts


def _take_start(open_ends: _OpenEnds, request: _Request) -> _Request | None:
    """Return the start of the job that ``request`` continues and close the end it continues; ``None`` if it has none.

    Longer beginnings are tried first, so that a job is continued from its latest turn.
    """
    for length in range(len(request.hash_ids), _LINK_BLOCKS_MIN - 1, -1):
        ends = open_ends.get(request.hash_ids[:length], [])
        for index in range(len(ends) - 1, -1, -1):
            end, start = ends[index]
            if end.input_tokens + end.output_tokens < request.input_tokens:
                del ends[index]
                return start
    return None


def _job(job_id: str, start: _Request) -> JobSpec:
    chain = [start, *start.following]
    turns = []
    held_tokens = 0
    for index, request in enumerate(chain):
        last = index == len(chain) - 1
        turns.append(
            TurnSpec(
                new_prompt_tokens=request.input_tokens - held_tokens,
                context_tokens=request.input_tokens,
                output_tokens=request.output_tokens,
                tool=None if last else "user",
                tool_wait_us=0 if last else chain[index + 1].at_us - request.at_us,
            )
        )
        held_tokens = request.input_tokens + request.output_tokens
    return JobSpec(job_id=job_id, turns=tuple(turns), arrival_us=start.at_us)
