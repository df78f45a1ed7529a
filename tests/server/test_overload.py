"""About three times the work that the server can do: it does what it can, sends the rest away; its trace is sound."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import httpx2

from astraea.cli.app import run

from .conftest import serving

SECONDS = 6


async def _storm(url, per_second):
    """Ask at random times whatever comes of it; return with which status each was answered."""
    rng, told, asking = random.Random(3), [], set()
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:

        async def ask(i):
            session = f"agent-{rng.randrange(12)}" if i % 2 else None
            body = {
                "messages": [{"role": "user", "content": f"{i} " * rng.randrange(4, 60)}],
                "max_tokens": rng.randrange(4, 24),
                "stream": i % 3 == 0,
                **({"session_id": session} if session else {}),
            }
            answer = await http.post("/v1/chat/completions", json=body)
            told.append(answer.status_code)
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1

        began_s = time.monotonic()
        i = 0
        while time.monotonic() - began_s < SECONDS:
            i += 1
            asking.add(asyncio.ensure_future(ask(i)))
            await asyncio.sleep(rng.expovariate(per_second))
        await asyncio.gather(*asking)
    return told


def test_overload_is_answered_with_429_and_everything_else_is_served(tmp_path, capsys):
    record = tmp_path / "run.ndjson"
    with serving(max_queue=16, kv_tokens=2_048, host_kv_tokens=1_024, record=record) as live:
        began_s = time.monotonic()
        for i in range(20):
            assert live.chat(f"{i} " * 30, max_tokens=14).status_code == 200
        alone_per_s = 20 / (time.monotonic() - began_s)
        # In batches it does up to three times what it does one by one.
        told = asyncio.run(_storm(live.server.url, 9 * alone_per_s))
        live.settled(30)
        assert live.chat("still there?").status_code == 200
        sessions = len(live.server.service.placing.sessions)
    statuses = Counter(told)
    assert set(statuses) == {200, 429}, statuses
    assert statuses[200] / SECONDS > 0.7 * alone_per_s, statuses
    assert sessions <= len(told) + 30
    assert run(["check", str(record)]) == 0, capsys.readouterr().out
