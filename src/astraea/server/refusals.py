"""What a client is told when it cannot have what it asked: a status and an error object, in our own words.

Nothing of an exception of a library, and nothing that a client sent, is repeated in them.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from astraea.decisions import Reason
from astraea.executor.requests import Answer, Finish
from astraea.units import US_PER_S, ceil_div

__all__ = ["ApiError", "of_answer", "of_validation"]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
}
_UNREAD = {408, 413, 431}
"""With these the rest of the request is not read, so nothing can follow it."""


class ApiError(Exception):
    """Is raised for a request that is answered with an error."""

    def __init__(
        self, status: int, sentence: str, *, code: str, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> str:
        """The error's type, as both APIs name it."""
        return _TYPES.get(self.status, "invalid_request_error")

    def as_anthropic_json(self) -> dict[str, object]:
        """Return the error object in Anthropic's form."""
        kind = {"server_error": "api_error"}.get(self.kind, self.kind)
        return {"type": "error", "error": {"type": kind, "message": self.sentence}}

    def as_json(self) -> dict[str, object]:
        """Return the error object."""
        return {"error": {"message": self.sentence, "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """What goes into the answer's headers."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == 401:  # noqa: PLR2004 - it is HTTP's number
            headers["WWW-Authenticate"] = "Bearer"
        if self.status in _UNREAD:
            headers["Connection"] = "close"
        return headers


_REFUSED: Mapping[str, tuple[int, str, str]] = {
    Reason.NEVER_FITS: (400, "context_length_exceeded", "prompt and output together are more than the server can hold"),
    Reason.TENANT_KV_FULL: (400, "context_length_exceeded", "prompt and output are more than one client may hold"),
    Reason.QUEUE_FULL: (429, "queue_full", "the server has as many requests waiting as it takes"),
    Reason.TENANT_QUEUE_FULL: (429, "tenant_queue_full", "you have as many requests waiting as one client may have"),
    Reason.DRAINING: (503, "draining", "the server is shutting down"),
}
_FAILED = "the model could not compute this answer; the server's log says why"


def of_answer(answer: Answer, *, engine_failed: bool) -> ApiError | None:
    """Return the error that a turn ended with, ``None`` where it did not."""
    if engine_failed and answer.finish is Finish.CANCELLED:
        return ApiError(503, "the engine has failed and the server is stopping", code="engine_failed", retry_after_s=5)
    match answer.finish:
        case Finish.FAILED:
            return ApiError(500, _FAILED, code="generation_failed")
        case Finish.CANCELLED:
            return ApiError(503, "the answer was cut short by the server", code="cancelled", retry_after_s=1)
        case Finish.REFUSED:
            status, code, sentence = _REFUSED.get(answer.error, (500, "generation_failed", _FAILED))
            retry_s = None if answer.retry_after_us is None else max(1, ceil_div(answer.retry_after_us, US_PER_S))
            if status == 400 and retry_s is not None:  # noqa: PLR2004 - it fits once a stuck copy has come back
                status, code = 503, "no_room"
            return ApiError(status, sentence, code=code, retry_after_s=retry_s or (1 if status > 400 else None))  # noqa: PLR2004
        case _:
            return None


_WORDS: Mapping[str, str] = {
    "missing": "is required",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_type": "must be a string",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "literal_error": "must be one of {expected}",
}


def of_validation(error: ValidationError) -> ApiError:
    """Return the error for a body that is not of its schema; it names the first field that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    # A union is followed by the branch that was tried, which is no part of the client's path.
    path = ".".join(str(part) for part in first["loc"] if not (isinstance(part, str) and not part.isidentifier()))
    words = _WORDS.get(first["type"], "is not what this field may hold").format(**first.get("ctx", {}))
    return ApiError(400, f"{path or 'the body'} {words}", code="invalid_value", param=path or None)
