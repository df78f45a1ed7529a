"""kv-cache-tester's form: one JSON object per coding session, in a file or in a folder of files.

``{"id", "block_size", "requests": [{"t", "in", "out", "hash_ids", "input_types", "stop", "think_time", "api_time"}]}``

Source: callanjfox/kv-cache-tester, ``docs/trace_replay_tester.md`` and its published traces (Apache-2.0). Times are
seconds from the session's start; ``hash_ids`` name the whole blocks of the prompt and mean nothing in another session.

What is made of it, and assumed where the form is silent:

* A job is one user request: it starts at a session's first request and wherever a request brings no ``tool_result``
  (where ``input_types`` is absent: after one that did not stop for ``tool_use``). Each job is a session of its own, so
  its first turn computes its whole prompt. The form has no common clock: arrivals are not recorded.
* What a turn can reuse are the leading blocks it shares with the turn before; where that is the whole earlier prompt
  but for its last block, the earlier answer is taken to be part of the new prompt too, if it has room for it.
* The wait before a turn is its ``think_time`` as published, else the time between the two requests less the earlier
  one's ``api_time``. In part of the sessions it seems to hold the request's own generation as well.
* A sub-agent (an entry of type ``subagent`` with ``requests``) gives jobs of its own, and the parent waits for a tool
  named ``subagent`` as long as it did when recorded. A request that generated nothing is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from astraea.errors import UsageError
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.trace_forms.reading import Place, read_bytes

__all__ = ["read_session", "read_session_folder"]

_DEPTH_MAX = 8


@frozen(slots=True)
class _Request:
    """One LLM call of a session as recorded."""

    at_us: int
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = field(repr=False)
    brings_tool_result: bool | None
    stop: str
    think_us: int | None
    api_us: int
    after_subagent: bool = False


def read_session_folder(folder: Path) -> list[JobSpec]:
    """Return the jobs of every ``.json`` file of a folder, by file name; :class:`UsageError` where there is none."""
    paths = sorted(folder.glob("*.json"), key=lambda path: path.name)
    if not paths:
        raise UsageError(f"{folder}: the folder holds no .json file of a session")
    jobs: list[JobSpec] = []
    for path in paths:
        place = Place(str(path), 1)
        try:
            text = read_bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            place.fail("not UTF-8 text", error)
        # The file's name makes ids unique where two sessions bear the same id.
        jobs.extend(read_session(str(path), place.json(text), name=path.stem))
    return jobs


def read_session(source: str, value: object, name: str = "") -> list[JobSpec]:
    """Return the jobs of one session; :class:`TraceError` where it is none (line 1: the session is one value)."""
    place = Place(source, 1)
    session = place.record(value)
    return _jobs(place, session, name or place.text(session, "id", "session"), _block_tokens(place, session), 0)


def _block_tokens(place: Place, session: dict[str, Any]) -> int:
    return place.count(session, "block_size", 1) if "block_size" in session else 64


def _jobs(place: Place, session: dict[str, Any], name: str, block_tokens: int, depth: int) -> list[JobSpec]:
    if depth > _DEPTH_MAX:
        place.fail(f"sub-agents are nested more than {_DEPTH_MAX} deep")
    requests: list[_Request] = []
    children: list[JobSpec] = []
    subagents = 0
    after_subagent = False
    for index, row in enumerate(place.rows(session, "requests"), start=1):
        here = place.at(f"request {index}")
        record = here.record(row)
        if record.get("type") == "subagent":
            children.extend(_jobs(here, record, f"{name}/s{subagents}", block_tokens, depth + 1))
            subagents += 1
            after_subagent = True
        elif here.count(record, "out", 0) > 0:
            requests.append(evolve(_request(here, record), after_subagent=after_subagent))
            after_subagent = False
    chains = _split(requests)
    return [_job(f"{name}/r{index}", chain, block_tokens) for index, chain in enumerate(chains)] + children


def _request(place: Place, record: dict[str, Any]) -> _Request:
    hash_ids = place.rows(record, "hash_ids") if "hash_ids" in record else []
    for value in hash_ids:
        if isinstance(value, bool) or not isinstance(value, int):
            place.fail("hash_ids must hold whole numbers only")
    at_us = place.seconds_us(record, "t")
    if at_us is None:
        place.fail("the key t is missing")
    input_types = place.rows(record, "input_types") if record.get("input_types") is not None else None
    return _Request(
        at_us=at_us,
        input_tokens=place.count(record, "in", 1),
        output_tokens=place.count(record, "out", 1),
        hash_ids=tuple(hash_ids),
        brings_tool_result=None if input_types is None else "tool_result" in input_types,
        stop=place.text(record, "stop", ""),
        think_us=place.seconds_us(record, "think_time"),
        api_us=place.seconds_us(record, "api_time") or 0,
    )


def _split(requests: list[_Request]) -> list[list[_Request]]:
    """Return the requests of each job of a session, in order."""
    chains: list[list[_Request]] = []
    for index, request in enumerate(requests):
        goes_on = request.brings_tool_result
        if goes_on is None:
            goes_on = index > 0 and requests[index - 1].stop == "tool_use"
        if chains and goes_on:
            chains[-1].append(request)
        else:
            chains.append([request])
    return chains


def _job(job_id: str, chain: list[_Request], block_tokens: int) -> JobSpec:
    turns: list[TurnSpec] = []
    for index, request in enumerate(chain):
        reusable_tokens = 0
        if index > 0:
            earlier = chain[index - 1]
            reusable_tokens = _reusable_tokens(earlier, request, block_tokens)
            tool = "subagent" if request.after_subagent else "tool"
            turns[-1] = evolve(turns[-1], tool=tool, tool_wait_us=_wait_us(earlier, request))
        new_prompt_tokens = request.input_tokens - reusable_tokens
        turns.append(TurnSpec(new_prompt_tokens, request.input_tokens, request.output_tokens, None, 0))
    return JobSpec(job_id=job_id, turns=tuple(turns))


def _reusable_tokens(earlier: _Request, request: _Request, block_tokens: int) -> int:
    """Return how many leading tokens ``request`` shares with what ``earlier`` left behind; less than all of them."""
    common = 0
    for left, right in zip(earlier.hash_ids, request.hash_ids, strict=False):
        if left != right:
            break
        common += 1
    limit = request.input_tokens - 1
    if common and common >= len(earlier.hash_ids) - 1:
        for shared in (earlier.input_tokens + earlier.output_tokens, earlier.input_tokens):
            if shared <= limit:
                return shared
    return min(common * block_tokens, limit)


def _wait_us(earlier: _Request, request: _Request) -> int:
    if request.think_us is not None:
        return request.think_us
    return max(0, request.at_us - earlier.at_us - earlier.api_us)
