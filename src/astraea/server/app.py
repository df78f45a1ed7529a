"""The routes in one table, and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import astraea
from astraea.server.chat import chat
from astraea.server.claude import count_tokens, messages
from astraea.server.claude_schema import ClaudeRequest, CountRequest
from astraea.server.completions import completions
from astraea.server.described import describer
from astraea.server.gate import Gate, hosts_of, refusal
from astraea.server.keys import Keys
from astraea.server.plain_routes import delete_session, health, metrics, models, ready, tokenize
from astraea.server.probe import tend
from astraea.server.refusals import ApiError
from astraea.server.responses import delete_response, get_response, responses
from astraea.server.responses_schema import ResponsesRequest
from astraea.server.schema import ChatRequest, CompletionRequest, TokenizeRequest
from astraea.server.service import Service

__all__ = ["make_app"]

_ERRORS = {400: "what is asked cannot be had", 401: "no valid key", 403: "unknown Host", 408: "too slow"}
_BODY_ERRORS = {413: "too large", 415: "not JSON", 404: "another model, or unknown"}
_TURN_ERRORS = {429: "too many requests wait", 500: "the model failed", 503: "shutting down, or failed"}
_STATUS_WORDS = {404: "there is no such route", 405: "the route has no such method"}

_GENERATING: tuple[tuple[str, Callable[[Request], Awaitable[Response]], type[BaseModel]], ...] = (
    ("/v1/chat/completions", chat, ChatRequest),
    ("/v1/completions", completions, CompletionRequest),
    ("/v1/responses", responses, ResponsesRequest),
    ("/v1/messages", messages, ClaudeRequest),
)
"""What answers with turns of the engine, and the body that it reads."""
_READING: tuple[tuple[str, Callable[[Request], Awaitable[Response]], type[BaseModel]], ...] = (
    ("/v1/messages/count_tokens", count_tokens, CountRequest),
    ("/tokenize", tokenize, TokenizeRequest),
)
"""What reads a body and answers at once."""

log = structlog.get_logger()


def make_app(service: Service, keys: Keys) -> FastAPI:
    """Return the server as an ASGI app; it starts and stops the service's engine."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.bridge.start()
        tending = asyncio.ensure_future(tend(service))
        yield
        tending.cancel()
        await service.bridge.stop()
        service.renderer.close()

    app = FastAPI(
        title="Astraea", version=astraea.__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    for path, route, _ in _GENERATING:
        app.add_api_route(path, route, methods=["POST"], responses=_documented(_BODY_ERRORS | _TURN_ERRORS))
    for path, route, _ in _READING:
        app.add_api_route(path, route, methods=["POST"], responses=_documented(_BODY_ERRORS))
    for method, of_one in (("GET", get_response), ("DELETE", delete_response)):
        app.add_api_route(
            "/v1/responses/{response_id}", of_one, methods=[method], responses=_documented({404: "unknown"})
        )
    for path, told in (("/v1/models", models), ("/health", health), ("/ready", ready), ("/metrics", metrics)):
        app.add_api_route(path, told, methods=["GET"], responses=_documented({503: "not now"}))
    app.add_api_route(
        "/v1/sessions/{session_id:path}", delete_session, methods=["DELETE"], responses=_documented({404: "unknown"})
    )
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(Gate, keys=keys, hosts=hosts_of(service.settings))
    bodies = {path: kind for path, _, kind in (*_GENERATING, *_READING)}
    app.openapi = describer(app, bodies)  # type: ignore[method-assign]  # as FastAPI has it
    return app


def _documented(more: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": words} for status, words in (_ERRORS | dict(more)).items()}


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return refusal(error, anthropic=request.url.path.startswith("/v1/messages"))


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = _STATUS_WORDS.get(error.status_code, "the request cannot be carried out")
    answer = refusal(ApiError(error.status_code, sentence, code="invalid_request"))
    answer.headers.update(error.headers or {})
    return answer


async def _bug(request: Request, error: Exception) -> Response:
    log.error("a request failed", request_id=request.scope.get("astraea.request_id"), exc_info=error)
    return refusal(ApiError(500, "the server made a mistake; its log has the request's id", code="internal_error"))
