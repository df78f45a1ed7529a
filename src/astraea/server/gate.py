"""What every request passes before any route: the Host it names, its key, its id; and the line that the log gets of it.

Everything is denied but for who has a key; ``/health`` alone answers anybody.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astraea.server.keys import Keys
from astraea.server.refusals import ApiError
from astraea.server.settings import Settings, is_loopback

__all__ = ["ANY_HOST", "OPEN_PATHS", "REQUEST_BYTES_MAX", "Gate", "hosts_of", "refusal"]

OPEN_PATHS = frozenset({"/health"})
ANY_HOST = "*"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
REQUEST_BYTES_MAX = 16 << 10
"""Of a request's line and headers."""
_HEADERS_MAX = 100
_ID_CHARS_MAX = 128
_LOGGED_CHARS_MAX = 200

log = structlog.get_logger()


def hosts_of(settings: Settings) -> frozenset[str]:
    """Return the names that the Host header may have, without ports."""
    if settings.allowed_hosts:
        return frozenset(host.lower() for host in settings.allowed_hosts)
    # Who reaches it from elsewhere needs a key, which a page of a stranger does not have.
    return frozenset((*_LOOPBACK_NAMES, settings.host.lower()) if is_loopback(settings.host) else (ANY_HOST,))


def refusal(error: ApiError, *, anthropic: bool = False) -> JSONResponse:
    """Return the answer that an error is."""
    content = error.as_anthropic_json() if anthropic else error.as_json()
    return JSONResponse(content, error.status, headers=error.headers)


class Gate:
    """Stands before the app."""

    def __init__(self, app: ASGIApp, *, keys: Keys, hosts: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, headers = time.monotonic(), Headers(scope=scope)
        request_id = _request_id(headers)
        scope["astraea.request_id"] = request_id
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                answer["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            scope["astraea.tenant"] = self._tenant(scope, headers)
        except ApiError as error:
            await refusal(error, anthropic=_is_anthropic(scope))(scope, receive, told)
        else:
            await self._app(scope, receive, told)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=ascii(scope["path"][:_LOGGED_CHARS_MAX])[1:-1],
                status=status,
                ms=round((time.monotonic() - began_s) * 1_000),
                request_id=request_id,
                tenant=scope.get("astraea.tenant"),
            )

    def _tenant(self, scope: Scope, headers: Headers) -> str:
        """Return whose request it is; raise :class:`ApiError` for one that stays outside."""
        request_bytes = len(scope["raw_path"]) + len(scope["query_string"])
        if request_bytes + sum(len(name) + len(value) for name, value in scope["headers"]) > REQUEST_BYTES_MAX:
            sentence = f"the request's line and headers may have at most {REQUEST_BYTES_MAX} bytes"
            raise ApiError(431, sentence, code="headers_too_large")
        if len(headers) > _HEADERS_MAX:
            raise ApiError(431, f"a request may have at most {_HEADERS_MAX} headers", code="too_many_headers")
        if ANY_HOST not in self._hosts and _host(headers) not in self._hosts:
            raise ApiError(403, "the server does not go by this Host", code="unknown_host")
        if scope["path"] in OPEN_PATHS:
            return ""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")
        tenant = self._keys.tenant_of(key)
        if tenant is None:
            raise ApiError(401, "a valid key is needed, as Authorization: Bearer or x-api-key", code="invalid_api_key")
        return tenant


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    if given.isascii() and given.isprintable() and 0 < len(given) <= _ID_CHARS_MAX:
        return given
    return f"req-{secrets.token_hex(12)}"


def _host(headers: Headers) -> str:
    """Return the Host without its port and an IPv6 address without its brackets."""
    host = headers.get("host", "").strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_anthropic(scope: Scope) -> bool:
    return str(scope["path"]).startswith("/v1/messages")
