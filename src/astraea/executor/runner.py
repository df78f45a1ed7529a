"""The engine: drives the scheduler with a real model, one round at a time in one thread.

A round is: take in what was asked, tell which copies arrived, ask the scheduler what is owed, carry it out, run the
batch and report it. The engine decides nothing. Other threads may ask (``submit``, ``cancel`` and the like); what they
ask is taken in after the step that is being computed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from astraea.errors import UsageError
from astraea.events import Drain, JobCancelled, ToolReturned
from astraea.executor.attention import PagedModel
from astraea.executor.blocks import BlockPool
from astraea.executor.copies import Copies
from astraea.executor.holdings import Holdings
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Answer, Finish, TurnRequest
from astraea.executor.swap import Copier, make_copier
from astraea.executor.verbs import Observer, Verbs
from astraea.executor.work import Work
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits
from astraea.policy.snapshot import Snapshot
from astraea.rivals import make_policy
from astraea.trace.recorder import TraceRecorder
from astraea.units import US_PER_S

__all__ = ["Engine"]

_CLOSED = "the engine was closed"
_NAP_S = 0.05
"""How long to wait at a time: a copy may become overdue meanwhile."""


class Engine:
    """One model under one scheduler."""

    def __init__(
        self,
        loaded: LoadedModel,
        limits: Limits,
        *,
        policy: str = "astraea",
        record: str | Path | IO[str] | None = None,
        clock: Callable[[], int] | None = None,
        observer: Observer | None = None,
        swap_overdue_us: int = 30 * US_PER_S,
        flex: bool = False,
        copier: Callable[[BlockPool, BlockPool, threading.Event], Copier] = make_copier,
    ) -> None:
        """Make the pools and begin with nothing.

        ``record``: where to write the run's trace. ``clock``: monotonic microseconds; ``None`` for the machine's.
        ``observer``: hears what is decided.
        ``swap_overdue_us``: how long a copy may take before it is given up. ``flex``: see :class:`PagedModel`.
        Raises :class:`UsageError` for a model that cannot be computed here, or pools that find no room.
        """
        chosen = make_policy(policy, limits)
        self._loaded = loaded
        self._model = PagedModel(loaded.model, limits.device_blocks, limits.block_tokens, flex=flex)
        device, shape = self._model.pool, self._model.pool.shape
        host = BlockPool(shape, limits.host_blocks, limits.block_tokens, pinned=True) if limits.host_blocks else None
        self.holdings = Holdings(device, host)
        recorder = None
        if record is not None:
            recorder = TraceRecorder(
                record, limits, chosen.name, guarded=chosen.guarded, blocking=chosen.blocking,
                meta={"model": loaded.name},
            )  # fmt: skip
        self._verbs = Verbs(Scheduler(limits, chosen), clock or _monotonic_us(), recorder, observer)
        self._news = threading.Event()
        """Set where something was asked or a copy ended."""
        self._copies: Copies | None = None
        if host is not None:
            self._copies = Copies(self._verbs, self.holdings, copier(device, host, self._news), swap_overdue_us)
        self._work = Work(loaded, self._model, self._verbs, self.holdings, self._copies)
        self._inbox: deque[tuple[Callable[[], object], Answer | None]] = deque()
        """What was asked, with the answer that is expected of it, if one is."""
        self._closed = False

    # What others ask

    def submit(self, request: TurnRequest) -> Answer:
        """Ask for a turn; raise :class:`UsageError` for tokens or a text that this model does not have."""
        if (request.stop or request.text) and self._loaded.tokenizer is None:
            raise UsageError(f"turn {request.turn_id}: {self._loaded.name} has no tokenizer, so there is no text")
        least, most, vocabulary = min(request.prompt), max(request.prompt), self._work.vocabulary
        if least < 0 or most >= vocabulary:
            wrong = least if least < 0 else most
            raise UsageError(f"turn {request.turn_id}: there is no token {wrong}, only 0 to {vocabulary - 1}")
        answer = Answer(request)
        self._ask(lambda: self._work.arrive(answer), answer)
        return answer

    def cancel(self, turn_id: str) -> None:
        """Ask for the end of a turn; nothing happens where it is not live."""
        self._ask(lambda: self._work.cancel(turn_id))

    def cancel_job(self, tenant: str, job_id: str) -> None:
        """Ask for the end of all turns of a job; nothing happens where it is not live."""
        self._ask(lambda: self._work.end_many(JobCancelled(self._verbs.now_us(), tenant, job_id)))

    def close_session(self, tenant: str, session_id: str) -> None:
        """Say that a session sends nothing more: its turns end and its caches go."""
        self._ask(lambda: self._work.close_session(tenant, session_id))

    def tool_returned(self, tenant: str, session_id: str, context_id: str) -> None:
        """Say that a context's tool has returned; nothing happens where it waits for none."""
        self._ask(lambda: self._verbs.offer(ToolReturned(self._verbs.now_us(), tenant, session_id, context_id)))

    def drain(self) -> None:
        """Ask that nothing more is admitted."""
        self._ask(lambda: self._verbs.offer(Drain(self._verbs.now_us())))

    def view(self, told: Callable[[Snapshot], None]) -> None:
        """Ask for a snapshot as of between two steps; ``told`` gets it in the engine's thread, if it is not closed."""
        self._ask(lambda: told(self.snapshot()))

    def _ask(self, what: Callable[[], object], answer: Answer | None = None) -> None:
        self._inbox.append((what, answer))
        self._news.set()
        if self._closed:
            self._end_asked()

    def _end_asked(self) -> None:
        """End the answers to what was asked and is not taken in any more."""
        with suppress(IndexError):  # another thread may do the same
            while True:
                _, answer = self._inbox.popleft()
                if answer is not None:
                    answer.end(Finish.CANCELLED, _CLOSED)

    # The loop

    @property
    def live_turns(self) -> int:
        """Turns that have not ended."""
        return len(self._work.live)

    @property
    def is_idle(self) -> bool:
        """Whether no turn is live, no copy is under way and nothing was asked."""
        return not (self._work.live or self._inbox or (self._copies is not None and self._copies.under_way))

    def snapshot(self) -> Snapshot:
        """Return what the scheduler has live."""
        return self._verbs.core.snapshot()

    def step(self) -> bool:
        """Make one round; return whether anything was done."""
        done = False
        while self._inbox:
            what, _ = self._inbox.popleft()
            what()
            done = True
        if self._copies is not None:
            done |= self._copies.report()
        self._work.wake(self._verbs.now_us())
        for decision in self._verbs.decide():
            done |= self._work.carry_out(decision)
        self._work.run(self._is_interrupted)
        return done

    def wait(self, timeout_s: float) -> None:
        """Wait for a copy to end, a time that the scheduler asked for, or something that is asked, but not longer."""
        wake_us = self._work.wake_us
        if wake_us is not None:
            timeout_s = min(timeout_s, max(0, wake_us - self._verbs.now_us()) / US_PER_S)
        if self._copies is not None and self._copies.under_way:
            self._copies.wait(timeout_s)
        else:
            self._news.wait(timeout_s)
        self._news.clear()

    def run_until_idle(self) -> None:
        """Make rounds until the engine is idle."""
        while not self.is_idle:
            if not self.step():
                self.wait(_NAP_S)

    def close(self) -> None:
        """End copies, thread and trace; what is live or asked for ends as cancelled, now and later."""
        self._closed = True
        try:
            if self._copies is not None:
                self._copies.close()
        finally:
            self._work.abandon(_CLOSED)
            self._end_asked()
            self._verbs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _is_interrupted(self) -> bool:
        if self._inbox or (self._copies is not None and self._copies.has_news):
            return True
        return self._work.wake_us is not None and self._verbs.now_us() >= self._work.wake_us


def _monotonic_us() -> Callable[[], int]:
    began_ns = time.monotonic_ns()
    return lambda: (time.monotonic_ns() - began_ns) // 1000
