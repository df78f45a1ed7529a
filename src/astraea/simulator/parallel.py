"""Runs simulations side by side, one process each: a run is on one core, and runs share nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from ctypes import c_longlong
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from astraea.errors import AstraeaError, ContractError, InvariantError, TraceError
from astraea.rivals import make_policy
from astraea.simulator.driver import simulate
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.results import RunResult
from astraea.trace.recorder import TraceRecorder

if TYPE_CHECKING:
    from ctypes import Array

__all__ = ["RunRequest", "default_workers", "run_all", "side_by_side"]

_Request = TypeVar("_Request")
_Result = TypeVar("_Result")
_Told = Callable[[int, int], None]
"""Is told what is done and how much there is of it."""

_POLL_S = 0.2
"""How often progress is told while processes work."""


@frozen(slots=True, kw_only=True)
class RunRequest:
    """One run to make."""

    policy: str
    seed: int
    jobs: tuple[JobSpec, ...]
    """With arrivals, in order of arrival."""
    profile: EngineProfile
    host_ratio: float = 0.0
    agents: int | None = None
    record: Path | None = None
    """File to record the run in."""


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(
    requests: Sequence[RunRequest], *, workers: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> list[RunResult]:
    """Return the results in the order of the requests.

    ``on_progress`` is told (jobs done, jobs) over all runs. With one worker, or one run, everything happens in this
    process; otherwise the processes are spawned, so a script that calls this needs its ``__main__`` guard. The first
    error of a run is raised here; runs that have not begun by then are not made.
    """
    return side_by_side(_run, requests, sum(len(r.jobs) for r in requests), workers=workers, on_progress=on_progress)


def side_by_side(
    work: Callable[[_Request, _Told], _Result], requests: Sequence[_Request], total: int, *, workers: int = 1,
    on_progress: _Told | None = None,
) -> list[_Result]:  # fmt: skip
    """Return what ``work``, a function of a module, makes of each request; see :func:`run_all`.

    ``work`` gets a request and a callback to tell how much of it is done; ``total`` is that of all requests.
    """
    tell = _Tell(on_progress, total)
    if workers == 1 or len(requests) == 1:
        return [work(request, tell.counter(index)) for index, request in enumerate(requests)]
    context = get_context("spawn")
    done = context.RawArray(c_longlong, len(requests))
    pool = ProcessPoolExecutor(min(workers, len(requests)), mp_context=context, initializer=_share, initargs=(done,))
    try:
        futures = [pool.submit(_work_shared, work, index, request) for index, request in enumerate(requests)]
        return _collect(futures, done, tell)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(futures: list[Future[_Result]], done: Array[c_longlong], tell: _Tell) -> list[_Result]:
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
        tell.all_done(sum(int(count) for count in done))
    return [future.result() for future in futures]


class _Tell:
    """Adds up what the requests of this process have done."""

    def __init__(self, on_progress: Callable[[int, int], None] | None, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done: dict[int, int] = {}

    def all_done(self, done: int) -> None:
        """Tell how much is done over all requests."""
        if self._on_progress is not None:
            self._on_progress(done, self._total)

    def counter(self, index: int) -> Callable[[int, int], None]:
        """Return the callback of one request."""

        def count(done: int, _total: int) -> None:
            self._done[index] = done
            self.all_done(sum(self._done.values()))

        return count


_done: Array[c_longlong] | None = None
"""In a worker process: what is done of each request, shared with the process that asked."""


def _share(done: Array[c_longlong]) -> None:
    global _done  # noqa: PLW0603 - how an initializer hands something to the calls that follow
    _done = done


def _work_shared(work: Callable[[_Request, _Told], _Result], index: int, request: _Request) -> _Result:
    def count(done: int, _total: int) -> None:
        if _done is not None:
            _done[index] = done

    return work(request, count)


def _run(request: RunRequest, on_progress: Callable[[int, int], None]) -> RunResult:
    """Make one run; an error of several parts, which would not survive the way between processes, becomes plain."""
    try:
        if request.record is None:
            return _simulate(request, on_progress, None)
        limits = limits_for(request.profile, request.host_ratio)
        policy = make_policy(request.policy, limits)
        meta = {"seed": request.seed, "engine": request.profile.name, "host_ratio": request.host_ratio}
        with TraceRecorder(
            request.record, limits, policy.name, guarded=policy.guarded, blocking=policy.blocking, meta=meta
        ) as recorder:
            return _simulate(request, on_progress, recorder)
    except (ContractError, InvariantError, TraceError) as error:
        raise AstraeaError(f"{request.policy}, seed {request.seed}: {type(error).__name__}: {error}") from error


def _simulate(
    request: RunRequest, on_progress: Callable[[int, int], None], recorder: TraceRecorder | None
) -> RunResult:
    return simulate(
        request.jobs,
        request.profile,
        request.policy,
        host_ratio=request.host_ratio,
        agents=request.agents,
        recorder=recorder,
        on_progress=on_progress,
    )
