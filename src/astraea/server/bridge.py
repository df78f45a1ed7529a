"""Between the engine's thread and the event loop: what one asks of the other, and the tokens that come back.

The engine has a thread to itself and is never called from another one but for asking. What it tells is put into one
outbox, and the loop is woken once for all that stands there, not once for each token.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import attrs
import structlog

from astraea.executor.requests import Answer, Token, TurnRequest
from astraea.executor.runner import Engine
from astraea.policy.snapshot import Snapshot

__all__ = ["EngineThread", "TurnStream"]

_NAP_S = 0.05
_UNREAD_TOKENS_MAX = 4_096
"""Tokens that wait for a client that does not take them; then its turn is cancelled."""

_Told: TypeAlias = int | Token | Answer
"""That it began, with the tokens held already; a token; that it ended."""

log = structlog.get_logger()


class TurnStream:
    """What the event loop has heard of one turn; only the loop's thread touches it."""

    def __init__(self, turn_id: str, news: asyncio.Event, on_end: Callable[[TurnStream], None] | None) -> None:
        """``news``: set where there is something to read; several streams may share it."""
        self.turn_id = turn_id
        self.unread: list[Token] = []
        self.asked_s = time.monotonic()
        self.began_s: float | None = None
        """When it was first dispatched, on the machine's monotonic clock."""
        self.first_token_s: float | None = None
        self.heard_s = self.asked_s
        """When anything of it was last heard."""
        self.cached_tokens = 0
        """Tokens of the prompt that did not have to be computed."""
        self.answer: Answer | None = None
        """Once it has ended."""
        self.engine_failed = False
        self._news = news
        self._on_end = on_end

    def take(self) -> list[Token]:
        """Return the tokens that were not taken yet."""
        taken, self.unread = self.unread, []
        return taken

    def hear(self, told: _Told, *, engine_failed: bool) -> None:
        """Note what the engine tells."""
        self.heard_s = time.monotonic()
        if isinstance(told, Token):
            if self.first_token_s is None:
                self.first_token_s = self.heard_s
            self.unread.append(told)
        elif isinstance(told, Answer):
            self.answer, self.engine_failed = told, engine_failed
            if self._on_end is not None:
                self._on_end(self)
        else:
            self.began_s, self.cached_tokens = self.heard_s, told
        self._news.set()


class EngineThread:
    """An engine that makes its rounds in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.on_failure: Callable[[], None] | None = None
        """Called in the event loop where the engine has failed; all turns have ended then."""
        self.failure: BaseException | None = None
        self.last_token_s = time.monotonic()
        """When a token of any turn was last heard of."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="astraea-engine", daemon=True)
        self._over = threading.Event()
        self._outbox: deque[tuple[TurnStream, _Told]] = deque()
        self._woken = False
        self._live: dict[str, TurnStream] = {}

    # The event loop's side

    def start(self) -> None:
        """Begin; the running event loop is the one that is told."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def live_turns(self) -> int:
        """Turns whose end was not heard of yet."""
        return len(self._live)

    @property
    def is_alive(self) -> bool:
        """Whether the thread makes rounds."""
        return self._thread.is_alive() and self.failure is None

    def submit(
        self, request: TurnRequest, news: asyncio.Event, on_end: Callable[[TurnStream], None] | None = None
    ) -> TurnStream:
        """Ask for a turn; :class:`~astraea.errors.UsageError` for what this model cannot compute.

        ``on_end`` is called in the event loop, before anyone who waits for the end goes on.
        """
        stream = TurnStream(request.turn_id, news, on_end)
        told = attrs.evolve(
            request,
            on_start=lambda held: self._tell(stream, held),
            on_token=lambda token: self._tell(stream, token),
            on_end=lambda answer: self._tell(stream, answer),
        )
        self._live[request.turn_id] = stream
        try:
            self.engine.submit(told)
        except BaseException:
            del self._live[request.turn_id]
            raise
        return stream

    def cancel(self, stream: TurnStream) -> None:
        """Ask for the end of a turn that nobody waits for any more."""
        if stream.answer is None:
            self.engine.cancel(stream.turn_id)

    async def snapshot(self, timeout_s: float = 5) -> Snapshot | None:
        """Return what the scheduler has live, ``None`` where the engine does not say so in time."""
        found: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()

        def hand_over(snapshot: Snapshot) -> None:
            self._in_loop(lambda: None if found.done() else found.set_result(snapshot))

        self.engine.view(hand_over)
        try:
            return await asyncio.wait_for(found, timeout_s)
        except TimeoutError:
            return None

    def end(self) -> None:
        """Let the thread end after its round, and with it every turn that is live."""
        self._over.set()
        self.engine.cancel("")  # which is nobody's, and wakes it

    async def stop(self) -> None:
        """End the thread, and wait until it has ended."""
        self.end()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        self._deliver()

    def _deliver(self) -> None:
        """Hand out what the engine told; in the event loop."""
        self._woken = False
        while self._outbox:
            stream, told = self._outbox.popleft()
            if isinstance(told, Answer):
                self._live.pop(stream.turn_id, None)
            stream.hear(told, engine_failed=self.failure is not None)
            if isinstance(told, Token):
                self.last_token_s = stream.heard_s
            if len(stream.unread) > _UNREAD_TOKENS_MAX:
                self.cancel(stream)

    # The engine's side

    def _tell(self, stream: TurnStream, told: _Told) -> None:
        self._outbox.append((stream, told))
        if not self._woken:
            self._woken = True
            self._in_loop(self._deliver)

    def _in_loop(self, what: Callable[[], None]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                if not self.engine.step():
                    self.engine.wait(_NAP_S)
        except BaseException as error:
            self.failure = error
            log.exception("the engine failed")
        try:
            self.engine.close()
        except Exception:
            log.exception("the engine did not close")
        if self.failure is not None and self.on_failure is not None:
            self._in_loop(self.on_failure)
