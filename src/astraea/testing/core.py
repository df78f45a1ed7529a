"""The adapter of Astraea's own scheduler, with any policy: it is examined like any other."""

from __future__ import annotations

from attrs import define

from astraea.decisions import Preempt, RunBatch, SwapIn, SwapOut
from astraea.events import (
    BatchDone,
    Hints,
    JobCancelled,
    Oracle,
    Outcome,
    SessionClosed,
    SwapDone,
    TurnArrived,
    TurnOutcome,
)
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.policy.tables import TurnState
from astraea.testing.adapter import Adapter, Request, Step, View

__all__ = ["CoreAdapter"]

_TENANT, _CONTEXT = "kit", "main"


@define
class _Running:
    """What the engine knows of a request."""

    request: Request
    held: int = 0
    sampled: int = 0


class CoreAdapter(Adapter):
    """An :class:`astraea.Scheduler` around an engine that computes nothing and is always on time.

    Each job is a session. Copies to and from the host are reported at once, so that a step owes nothing. A policy
    marked clairvoyant is given each turn's true length, as it asks to be.
    """

    knows_jobs = True

    def __init__(self, limits: Limits, policy: Policy | None = None) -> None:
        self._core = Scheduler(limits) if policy is None else Scheduler(limits, policy)
        self.pool_blocks = limits.device_blocks
        self.block_tokens = limits.block_tokens
        self.bypass_bound = limits.bypass_max if self._core.policy.guarded else None
        self._live: dict[str, _Running] = {}

    def submit(self, request: Request, now_us: int) -> bool:
        """Send ``TurnArrived``; a turn that is not live then is refused."""
        clairvoyant = self._core.policy.clairvoyant
        hints = Hints(oracle=Oracle(request.future.output_tokens, 0)) if clairvoyant else Hints()
        self._core.handle(
            TurnArrived(
                now_us, _TENANT, request.job_id, request.job_id, request.request_id, _CONTEXT, request.prompt_tokens,
                request.reusable_tokens, request.max_output_tokens, None, hints,
            )
        )  # fmt: skip
        if all(turn.turn_id != request.request_id for turn in self._core.snapshot().turns):
            return False
        self._live[request.request_id] = _Running(request)
        return True

    def cancel(self, request_id: str, now_us: int) -> None:
        """Cancel the request's job and close its session."""
        job_id = self._live.pop(request_id).request.job_id
        self._core.handle(JobCancelled(now_us, _TENANT, job_id))
        self._core.handle(SessionClosed(now_us, _TENANT, job_id))

    def step(self, now_us: int) -> Step:
        """Ask what is owed until it is a batch or nothing, report copies as done, and run one step of the batch."""
        preempted: list[str] = []
        while True:
            decisions = self._core.decide(now_us)
            preempted += [decision.turn_id for decision in decisions if isinstance(decision, Preempt)]
            copies = [decision.op_id for decision in decisions if isinstance(decision, SwapIn | SwapOut)]
            batches = [decision for decision in decisions if isinstance(decision, RunBatch)]
            for op_id in copies:
                self._core.handle(SwapDone(now_us, op_id))
            if batches or not decisions:
                break
        return self._run(batches[0], tuple(preempted), now_us) if batches else Step(tuple(preempted))

    def _run(self, batch: RunBatch, preempted: tuple[str, ...], now_us: int) -> Step:
        ran: dict[str, int] = {}
        ended = []
        for dispatch in batch.dispatched:
            self._live[dispatch.turn_id].held = dispatch.start_tokens
        for chunk in batch.chunks:
            turn = self._live[chunk.turn_id]
            turn.held += chunk.tokens
            ran[chunk.turn_id] = int(turn.held == turn.request.prompt_tokens + turn.sampled)
            turn.sampled += ran[chunk.turn_id]
            if turn.sampled == turn.request.future.output_tokens:
                ended.append(turn.request)
        outcomes = tuple(_outcome(request) for request in ended)
        self._core.handle(BatchDone(now_us, batch.batch_id, 1, outcomes))
        for request in ended:
            del self._live[request.request_id]
            if request.future.tool is None:
                self._core.handle(SessionClosed(now_us, _TENANT, request.job_id))
        started = tuple(dispatch.turn_id for dispatch in batch.dispatched)
        return Step(preempted, started, ran, tuple(request.request_id for request in ended))

    def snapshot(self) -> View:
        """Return the core's own view: the caches of live turns are held, those of waiting sessions cached."""
        view = self._core.snapshot()
        by_session = {turn.session_id: turn.turn_id for turn in view.turns}
        held = {by_session[cache.session_id]: 0 for cache in view.caches if cache.session_id in by_session}
        cached = 0
        for cache in view.caches:
            if cache.session_id in by_session:
                held[by_session[cache.session_id]] += cache.device_blocks
            else:
                cached += cache.device_blocks
        running = tuple(turn.turn_id for turn in view.turns if turn.state is TurnState.RUNNING)
        waiting = tuple(turn.turn_id for turn in view.turns if turn.state is not TurnState.RUNNING)
        return View(waiting, running, view.device_free, held, cached)


def _outcome(request: Request) -> TurnOutcome:
    tool = request.future.tool
    return TurnOutcome(request.request_id, Outcome.FINAL if tool is None else Outcome.TOOL_CALL, tool)
