"""The routes that generate nothing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from astraea.server.accepted import read
from astraea.server.answering import asker_of, service_of
from astraea.server.metrics import CONTENT_TYPE_LATEST
from astraea.server.probe import is_ready
from astraea.server.reading import read_object
from astraea.server.refusals import ApiError
from astraea.server.schema import TokenizeRequest

__all__ = ["delete_session", "health", "metrics", "models", "ready", "tokenize"]


async def models(request: Request) -> Response:
    """Tell which model there is."""
    service = service_of(request)
    one = {
        "id": service.settings.model_name,
        "object": "model",
        "created": int(service.began_s),
        "owned_by": "astraea",
        "root": service.loaded.name,
        "max_model_len": service.context_tokens_max,
    }
    return JSONResponse({"object": "list", "data": [one]})


async def tokenize(request: Request) -> Response:
    """Tell the tokens of a text or of messages."""
    service = service_of(request)
    asked = read(TokenizeRequest, await read_object(request), {})
    if (asked.prompt is None) == (asked.messages is None):
        raise ApiError(400, "either prompt or messages is needed", code="invalid_value", param="prompt")
    if asked.messages is not None:
        tools = [tool.plain() for tool in asked.tools or ()]
        tokens = await service.renderer.chat([message.plain() for message in asked.messages], tools)
    else:
        tokens = await service.renderer.text(asked.prompt or "")
    told: dict[str, object] = {"tokens": tokens, "count": len(tokens), "max_model_len": service.context_tokens_max}
    if asked.return_token_strs:
        told["token_strs"] = service.renderer.pieces(tokens)
    return JSONResponse(told)


async def delete_session(request: Request) -> Response:
    """End a session: its turns, its caches and its job."""
    session_id, tenant = request.path_params["session_id"], asker_of(request).tenant
    if not service_of(request).close_session(tenant, session_id):
        raise ApiError(404, "there is no such session", code="unknown_session")
    return JSONResponse({"object": "session", "deleted": True})


async def health(_request: Request) -> Response:
    """Tell that the process lives."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Tell whether turns go through the engine."""
    service = service_of(request)
    if is_ready(service):
        return JSONResponse({"status": "ready"})
    word = "draining" if service.draining else "not ready"
    return JSONResponse({"status": word}, 503, headers={"Retry-After": "1"})


async def metrics(request: Request) -> Response:
    """Tell the numbers."""
    service = service_of(request)
    snapshot = await service.bridge.snapshot()
    if snapshot is None:
        raise ApiError(503, "the engine does not answer", code="engine_busy", retry_after_s=1)
    page = service.metrics.page(snapshot, len(service.placing.sessions))
    return Response(page, media_type=CONTENT_TYPE_LATEST)
