"""One connection's HTTP: so many connections and no more, and headers that come in time."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from astraea.server.service import Service

__all__ = ["BoundedProtocol"]


class BoundedProtocol(H11Protocol):
    """uvicorn's own, with two bounds more."""

    _headers_timer: asyncio.TimerHandle | None = None

    @property
    def _service(self) -> Service:
        app: Any = self.config.app
        service = app.state.service
        assert isinstance(service, Service)
        return service

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are as many as may be."""
        super().connection_made(transport)
        if len(self.connections) > self._service.settings.max_connections:
            transport.close()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Take what came; a request whose headers are not whole is waited for so long and no longer."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._headers_timer is None:
            self._expect_headers()

    def on_response_complete(self) -> None:
        """Go on with the next request; between two of them uvicorn's own timer runs."""
        super().on_response_complete()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._headers_timer = self.loop.call_later(self._service.settings.receive_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _too_slow(self) -> None:
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()
