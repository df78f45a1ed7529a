"""Whether turns go through the engine, told by turns that do: a client's, or where none came lately, one of our own.

A probe is cancelled at its first token, so that the scheduler learns nothing from it.
"""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog

from astraea.executor.requests import TurnRequest
from astraea.server.service import Service

__all__ = ["PROBE_TENANT", "is_ready", "probe", "tend"]

PROBE_TENANT = "astraea probe"
"""A name that no key can have."""
_EVERY_S = 10.0
_READY_S = 30.0
"""A server is ready where a token came out of it so lately."""
_OUTPUT_TOKENS = 16

log = structlog.get_logger()


def is_ready(service: Service) -> bool:
    """Return whether a turn that came now would be computed."""
    lately = time.monotonic() - service.bridge.last_token_s < _READY_S
    return service.bridge.is_alive and not service.draining and lately


async def tend(service: Service) -> None:
    """Probe the engine while it has nothing else to show, and close idle sessions, for as long as it runs."""
    while True:
        await asyncio.sleep(1)
        service.close_idle()
        if time.monotonic() - service.bridge.last_token_s >= _EVERY_S and not service.draining:
            await probe(service)


async def probe(service: Service, timeout_s: float = _READY_S) -> bool:
    """Send one short turn through the engine; return whether a token came of it."""
    name, news = f"probe-{secrets.token_hex(8)}", asyncio.Event()
    request = TurnRequest(
        tenant=PROBE_TENANT, session_id=name, job_id=name, turn_id=name, prompt=[0], max_output_tokens=_OUTPUT_TOKENS,
        stop_tokens=frozenset(), shared_prefix_tokens=0,
    )  # fmt: skip
    stream = service.bridge.submit(request, news)
    try:
        async with asyncio.timeout(timeout_s):
            while stream.first_token_s is None and stream.answer is None:
                news.clear()
                await news.wait()
    except TimeoutError:
        log.warning("a probe did not come through", seconds=timeout_s)
    finally:
        service.bridge.cancel(stream)
        service.bridge.engine.close_session(PROBE_TENANT, name)
    return stream.first_token_s is not None
