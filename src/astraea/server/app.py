"""The routes in one table, and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import astraea
from astraea.server.chat import chat
from astraea.server.claude import count_tokens, messages
from astraea.server.claude_schema import ClaudeRequest, CountRequest
from astraea.server.completions import completions
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
    _generating(app, "/v1/chat/completions", chat, ChatRequest)
    _generating(app, "/v1/completions", completions, CompletionRequest)
    _generating(app, "/v1/responses", responses, ResponsesRequest)
    _generating(app, "/v1/messages", messages, ClaudeRequest)
    _reading(app, "/v1/messages/count_tokens", count_tokens, CountRequest)
    _reading(app, "/tokenize", tokenize, TokenizeRequest)
    for method, of_one in (("GET", get_response), ("DELETE", delete_response)):
        app.add_api_route(
            "/v1/responses/{response_id}", of_one, methods=[method], responses=_documented({404: "unknown"})
        )
    for path, route in (("/v1/models", models), ("/health", health), ("/ready", ready), ("/metrics", metrics)):
        app.add_api_route(path, route, methods=["GET"], response_class=JSONResponse, responses=_documented({503: ""}))
    app.add_api_route(
        "/v1/sessions/{session_id:path}", delete_session, methods=["DELETE"], responses=_documented({404: "unknown"})
    )
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(Gate, keys=keys, hosts=hosts_of(service.settings))
    return app


def _documented(more: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": words or "not now"} for status, words in (_ERRORS | dict(more)).items()}


def _reading(app: FastAPI, path: str, route: Any, kind: type[BaseModel], more: Mapping[int, str] = {}) -> None:  # noqa: ANN401
    schema = kind.model_json_schema(ref_template=f"#/components/schemas/{kind.__name__}-{{model}}")
    schema.pop("$defs", None)
    app.add_api_route(
        path, route, methods=["POST"], response_class=JSONResponse,
        responses=_documented(_BODY_ERRORS | dict(more)),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    )  # fmt: skip


def _generating(app: FastAPI, path: str, route: Any, kind: type[BaseModel]) -> None:  # noqa: ANN401
    _reading(app, path, route, kind, _TURN_ERRORS)


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
