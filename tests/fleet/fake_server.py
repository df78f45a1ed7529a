"""A server that says nothing of sense: it counts words as tokens, keeps what it was asked, and fails where told to."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MESSAGE_TOKENS = 4
"""What the form of a chat adds to each message."""
TOOL_TOKENS = 10
"""What a tool that is offered adds to the prompt."""


class FakeServer:
    """What it was asked, and how it answers."""

    def __init__(self, *, context_tokens=8_192, makes_calls=True, delay_s=0.0):
        self.context_tokens = context_tokens
        self.makes_calls = makes_calls
        """Whether it answers with a tool call where one is asked for."""
        self.delay_s = delay_s
        self.asked = []
        """Bodies of turns, in order of arrival; the two probes are left out."""
        self.keys = set()
        self.fails = lambda _body: None
        """For a body: ``None``, or a status and a sentence."""
        self.live = self.most_live = 0
        self.lock = threading.Lock()

    def models(self):
        return {"object": "list", "data": [{"id": "fake", "object": "model", "max_model_len": self.context_tokens}]}

    def answer(self, body):
        """Status and object of an answer."""
        if "session_id" in body or not body.get("final"):
            with self.lock:
                self.asked.append(body)
                number = len(self.asked)
        else:
            number = 0
        failure = self.fails(body)
        if failure is not None:
            status, sentence = failure
            return status, {"error": {"message": sentence, "type": "fake", "code": None, "param": None}}
        time.sleep(self.delay_s)
        tokens = body["max_tokens"]
        message = {"role": "assistant", "content": " ".join(["noise"] * tokens), "refusal": None}
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and self.makes_calls:
            function = {"name": choice["function"]["name"], "arguments": message["content"]}
            message |= {
                "content": None,
                "tool_calls": [{"id": f"call-{number}", "type": "function", "function": function}],
            }
        prompt_tokens = prompt_length(body)
        return 200, {
            "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "length", "logprobs": None}],
            "usage": {
                "prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
        }  # fmt: skip


def prompt_length(body):
    """Words, and what the form adds."""
    tokens = TOOL_TOKENS * len(body.get("tools", ()))
    for message in body["messages"]:
        tokens += MESSAGE_TOKENS + len((message.get("content") or "").split())
        tokens += sum(len(call["function"]["arguments"].split()) for call in message.get("tool_calls", ()))
    return tokens


@contextmanager
def serving(fake):
    """Serve it on a port of the loopback address; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            self.reply(200, fake.models())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fake.keys.add(self.headers["authorization"])
            with fake.lock:
                fake.live += 1
                fake.most_live = max(fake.most_live, fake.live)
            status, said = fake.answer(body)
            with fake.lock:
                fake.live -= 1
            self.reply(status, said)

        def reply(self, status, said):
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            if status == 429:
                self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
