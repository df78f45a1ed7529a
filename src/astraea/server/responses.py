"""``POST /v1/responses``, whole and streamed, and ``GET`` and ``DELETE`` of an answer that is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from astraea.server.accepted import read, without_effect
from astraea.server.answering import answer, asker_of, sampling_of, service_of
from astraea.server.chat import check_model
from astraea.server.reading import read_object
from astraea.server.refusals import ApiError
from astraea.server.replies import Reply
from astraea.server.responses_form import ResponsesForm
from astraea.server.responses_schema import RESPONSES_REFUSED, ResponsesRequest, messages_of
from astraea.server.service import Asker, Call, Service
from astraea.server.stored import Stored

__all__ = ["delete_response", "get_response", "responses"]


async def responses(request: Request) -> Response:
    """Answer an input, on its own or after an earlier answer."""
    service, body, asker = service_of(request), await read_object(request), asker_of(request)
    asked = read(ResponsesRequest, body, RESPONSES_REFUSED)
    check_model(asked.model, service.settings.model_name)
    previous = _previous(service, asker, asked.previous_response_id)
    messages = messages_of(asked, previous.messages if previous is not None else ())
    call = Call(
        messages=messages,
        tools=asked.offered,
        must_call=asked.must_call,
        max_tokens=asked.max_output_tokens or asked.max_tokens,
        min_tokens=asked.min_tokens or 0,
        ignore_eos=bool(asked.ignore_eos),
        stops=asked.stops,
        sampling=sampling_of(asked, logprobs=None),
    )
    reply = await service.begin(call, body, asker, session_id=previous.session_id if previous is not None else None)
    form = ResponsesForm(service.settings.model_name, asked)
    if asked.store is not False:
        # Instructions are of one request; the next one brings its own.
        kept = messages[1:] if asked.instructions is not None else messages
        reply.after.append(lambda: _keep(service, asker, reply, form, kept))
    ignored = without_effect(ResponsesRequest, body, RESPONSES_REFUSED)
    return await answer(request, reply, form, stream=bool(asked.stream), ignored=ignored)


def _previous(service: Service, asker: Asker, answer_id: str | None) -> Stored | None:
    if answer_id is None:
        return None
    stored = service.stored.get(asker.tenant, answer_id, time.monotonic())
    if stored is None:
        sentence = "there is no such response, or none any more"
        raise ApiError(404, sentence, code="previous_response_not_found", param="previous_response_id")
    return stored


def _keep(
    service: Service, asker: Asker, reply: Reply, form: ResponsesForm, messages: Sequence[dict[str, Any]]
) -> None:
    if reply.error() is not None:
        return
    (choice,) = reply.choices
    session_id = choice.placed.branch.session.session_id
    whole = [*messages, choice.content.as_message()]
    stored = Stored(asker.tenant, session_id, whole, form.whole(reply), time.monotonic())
    service.stored.put(form.answer_id(reply), stored)


async def get_response(request: Request) -> Response:
    """Return an answer that is kept."""
    return JSONResponse(_stored(request).answer)


async def delete_response(request: Request) -> Response:
    """Forget an answer that is kept."""
    _stored(request)
    answer_id = request.path_params["response_id"]
    service_of(request).stored.drop(answer_id)
    return JSONResponse({"id": answer_id, "object": "response", "deleted": True})


def _stored(request: Request) -> Stored:
    answer_id, tenant = request.path_params["response_id"], asker_of(request).tenant
    stored = service_of(request).stored.get(tenant, answer_id, time.monotonic())
    if stored is None:
        raise ApiError(404, "there is no such response, or none any more", code="response_not_found")
    return stored
