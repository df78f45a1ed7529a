"""A server in this process, on a free port, with the toy model; and a way to say what the model says."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager

import httpx2
import pytest
import torch
from attrs import define
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families

from astraea.executor.model import load_model
from astraea.executor.turns import LiveTurn
from astraea.server.keys import Keys
from astraea.server.process import make_server
from astraea.server.settings import Settings

SMALL = {"model": "toy", "port": 0, "max_model_len": 1_024, "kv_tokens": 8_192, "keep_alive_s": 0.2, "measure": False}


@define(eq=False)
class Live:
    """A server that serves."""

    server: object
    http: httpx2.Client
    openai: OpenAI

    def chat(self, *messages, headers=None, **fields):
        """Ask; ``messages`` are strings of the user, or messages."""
        shown = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
        body = {"messages": shown, "max_tokens": 4, "temperature": 0, **fields}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def http_routes(self):
        """Each path with its methods, as the server describes itself."""
        return self.server.config.app.openapi()["paths"].items()

    def live_turns(self):
        return self.server.service.bridge.live_turns

    def numbers(self):
        """The metrics, by name and labels."""
        told = {}
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                labels = {name: value for name, value in sample.labels.items() if name not in {"engine", "model_name"}}
                shown = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
                told[f"{sample.name}{{{shown}}}"] = sample.value
        return told

    def settled(self, timeout_s=10):
        """Wait until no turn is live."""
        ends_s = time.monotonic() + timeout_s
        while self.live_turns():
            assert time.monotonic() < ends_s, "a turn does not end"
            time.sleep(0.005)


@contextmanager
def serving(keys=(), key=None, loaded=None, **settings):
    """A server with these settings; ``key`` is what its clients send."""
    torch.set_num_threads(1)
    server = make_server(Settings(**SMALL | settings), Keys(keys), loaded or load_model("toy"))
    thread = threading.Thread(target=server.serve_until_told)
    thread.start()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        with (
            httpx2.Client(base_url=server.url, headers=headers, timeout=30) as http,
            OpenAI(base_url=f"{server.url}/v1", api_key=key or "none", max_retries=0, timeout=30) as client,
        ):
            yield Live(server, http, client)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def shared():
    """One server for all tests that leave nothing behind."""
    with serving() as live:
        yield live


@pytest.fixture
def live(shared):
    yield shared
    shared.settled()


@pytest.fixture
def says(shared, monkeypatch):
    """``says(text, ...)``: what the model answers next, turn after turn; its own tokens are replaced as they come."""
    tokenizer = load_model("toy").tokenizer
    end = tokenizer.eos_token_id
    scripts, by_turn, take = deque(), {}, LiveTurn.take

    def scripted(self, token, logprob):
        if self.request.turn_id not in by_turn and scripts:
            by_turn[self.request.turn_id] = deque([*tokenizer.encode(scripts.popleft()), end])
        script = by_turn.get(self.request.turn_id)
        return take(self, script.popleft() if script else token, logprob)

    monkeypatch.setattr(LiveTurn, "take", scripted)
    return lambda *texts: scripts.extend(texts)
