"""The server as a process: it begins, listens, drains at a signal, and its exit code says how it ended."""

from __future__ import annotations

import asyncio
import socket
import time
from types import FrameType

import structlog
import uvicorn

from astraea.errors import UsageError
from astraea.executor.model import LoadedModel
from astraea.executor.runner import Engine
from astraea.server.app import make_app
from astraea.server.bridge import EngineThread
from astraea.server.connections import BoundedProtocol
from astraea.server.gate import REQUEST_BYTES_MAX
from astraea.server.keys import Keys
from astraea.server.metrics import Metrics
from astraea.server.placing import Placing
from astraea.server.rendering import Renderer
from astraea.server.service import Service
from astraea.server.settings import Settings
from astraea.server.sizing import limits_of, longest_context

__all__ = ["Server", "make_server"]

_KEEP_CONNECTION_S = 30
_FAILURE_GRACE_S = 2.0
"""After the engine has failed: time for the errors to go out."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """One engine behind one port."""

    def __init__(self, service: Service, keys: Keys, listener: socket.socket) -> None:
        settings = service.settings
        config = uvicorn.Config(
            make_app(service, keys),
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_CONNECTION_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=REQUEST_BYTES_MAX,
            backlog=settings.max_connections,
        )
        super().__init__(config)
        self.service = service
        self.exit_code = 0
        self._listener = listener
        self._drain_until_s: float | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def serve_until_told(self) -> int:
        """Serve until a signal or a failure of the engine; return the exit code."""
        self.run(sockets=[self._listener])
        return self.exit_code

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and say where."""
        await super().startup(sockets)
        if self.started:
            log.info("serving", url=self.url, model=self.service.settings.model_name)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, leave at the second."""
        if self._drain_until_s is None:
            self.drain()
        else:
            self.force_exit = self.should_exit = True

    def drain(self) -> None:
        """Admit no new jobs, let what is under way end, and leave then, or when the grace is over."""
        grace_s = self.service.settings.drain_grace_s
        self._drain_until_s = time.monotonic() + grace_s
        self.service.draining = True
        self.service.bridge.engine.drain()

    def fail(self) -> None:
        """Leave with exit code 1 once the errors are out: the engine has failed."""
        self.exit_code = 1
        self.service.draining = True
        self._drain_until_s = time.monotonic() + _FAILURE_GRACE_S

    async def on_tick(self, counter: int) -> bool:
        """Look whether there is something left to wait for."""
        if self._drain_until_s is not None and not self.should_exit:
            over = time.monotonic() >= self._drain_until_s
            if over or not (self.service.bridge.live_turns or self.server_state.tasks):
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is live with an error that is told, then close; where it must go at once, without waiting."""
        if self.force_exit:
            self.service.bridge.end()
        elif self.service.bridge.live_turns:
            await self.service.bridge.stop()
            await asyncio.sleep(0.05)  # for the errors to go out
        await super().shutdown(sockets)


def make_server(settings: Settings, keys: Keys, loaded: LoadedModel) -> Server:
    """Return a server that has its port and its pools; raise :class:`UsageError` where it cannot have them."""
    if loaded.tokenizer is None:
        raise UsageError(f"{loaded.name} has no tokenizer, so there is nothing to serve")
    limits = limits_of(settings, loaded)
    listener = _listen(settings)
    metrics = Metrics(settings.model_name)
    engine = Engine(loaded, limits, policy=settings.policy, record=settings.record, observer=metrics.decided)
    bridge = EngineThread(engine)
    service = Service(
        settings, loaded, limits, longest_context(settings, loaded), bridge, Renderer(loaded), Placing(), metrics
    )
    server = Server(service, keys, listener)
    bridge.on_failure = server.fail
    return server


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=settings.max_connections)
    except OSError as error:
        raise UsageError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from error
