"""What becomes of each field of a request: it is honoured, without effect and named in a header, or refused by name.

A field that nobody knows has no effect. What says who asks, or hints, is read beside these tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from astraea.server.fields import Body, Place
from astraea.server.hints import SOURCES
from astraea.server.identity import CONVENTIONS
from astraea.server.refusals import ApiError, of_validation

__all__ = ["CHAT_REFUSED", "COMPLETION_REFUSED", "WITHOUT_EFFECT", "read", "without_effect"]

WITHOUT_EFFECT: Mapping[str, str] = {
    "user": "tenants are told apart by their keys",
    "store": "answers are kept for a while for previous_response_id and for nothing else",
    "metadata": "nothing is stored with an answer",
    "parallel_tool_calls": "a model calls as many tools as it likes",
    "service_tier": "there is one",
    "safety_identifier": "there is no moderation",
    "verbosity": "the models here have no such setting",
    "reasoning_effort": "the models here have no such setting",
    "reasoning": "the models here have no such setting",
    "strict": "nothing is decoded by a grammar",
    "truncation": "a prompt that is too long is refused",
    "include": "answers hold all that there is",
    "thinking": "the models here have no such setting",
    "output_config": "the models here have no such setting",
    "context_management": "clients keep their own history",
}
"""Fields that change nothing here, and why that is no harm."""

CHAT_REFUSED: Mapping[str, str] = {
    "response_format": "nothing is decoded by a grammar",
    "logit_bias": "single tokens cannot be made more likely",
    "functions": "use tools",
    "function_call": "use tools",
    "modalities": "there is text alone",
    "audio": "there is text alone",
    "prediction": "there is no speculation",
    "web_search_options": "the server fetches nothing",
    "chat_template": "the template is the operator's",
    "chat_template_kwargs": "the template is the operator's",
    "guided_json": "nothing is decoded by a grammar",
    "guided_regex": "nothing is decoded by a grammar",
    "guided_choice": "nothing is decoded by a grammar",
    "guided_grammar": "nothing is decoded by a grammar",
    "structured_outputs": "nothing is decoded by a grammar",
    "prompt_logprobs": "only what is generated has log-probabilities",
    "logits_processors": "no code of clients is run",
    "use_beam_search": "answers are sampled",
}
"""Fields that would change the answer, and why they cannot be had."""

COMPLETION_REFUSED: Mapping[str, str] = {
    **CHAT_REFUSED,
    "suffix": "models here go on from the end",
    "best_of": "use n",
    "prompt_embeds": "no tensors of clients are read",
}

_NEUTRAL: Mapping[str, Collection[object]] = {
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "best_of": (1,),
    "text": (
        {},
        {"format": {"type": "text"}},
        {"verbosity": "medium"},
        {"format": {"type": "text"}, "verbosity": "medium"},
    ),
    "background": (False,),
    "n": (1,),
    "mcp_servers": ([],),
    "suffix": ("",),
    "use_beam_search": (False,),
    "chat_template_kwargs": ({},),
}
"""What a refused field may be after all, for it asks for what is so anyway."""


_Kind = TypeVar("_Kind", bound=BaseModel)


def read(kind: type[_Kind], body: Mapping[str, object], refused: Mapping[str, str]) -> _Kind:
    """Return a body as what it asks for; raise :class:`ApiError` for what it may not hold."""
    for name in sorted(refused.keys() & body.keys()):
        if body[name] is not None and body[name] not in _NEUTRAL.get(name, ()):
            raise ApiError(400, f"{name} is not supported: {refused[name]}", code="unsupported_field", param=name)
    try:
        return kind.model_validate(dict(body))
    except ValidationError as error:
        raise of_validation(error) from error


def _named(place: Place) -> str:
    return place.path.partition(".")[0] if isinstance(place, Body) else ""


_ELSEWHERE = (
    {
        _named(place)
        for convention in CONVENTIONS
        for place in (*convention.session, convention.child, convention.parent, convention.job, convention.final)
        if place is not None
    }
    | {_named(source.place) for source in SOURCES}
    | {"prompt_cache_key"}
)
"""Fields that say who asks, or that hint; they are read beside the schema."""


def without_effect(kind: type[BaseModel], body: Mapping[str, object], refused: Mapping[str, str]) -> list[str]:
    """Return the fields of a body that change nothing, by name; those whose names are none are left out."""
    known = kind.model_fields.keys() | refused.keys() | _ELSEWHERE
    return sorted(
        name
        for name in body
        if name not in known and name.isidentifier() and name.isascii() and len(name) <= 64  # noqa: PLR2004 - as any name
    )[:32]
