"""Who is asking: which session a request belongs to, by the conventions of agents, gateways and other servers.

``CONVENTIONS`` is the whole of it, in order of precedence: the body's before the headers', and of the headers those
that someone set on purpose before those that an agent sends by itself. Each of session, job, parent and final is taken
from the first convention that gives it. A session that lives inside another one (``child``) is a session of its own,
and the outer one is its parent unless a nearer one is named.

A value that comes after the one that counts is not looked at, malformed or not. A request without any of these is not
anonymous yet: the server goes on with ``previous_response_id`` and with the conversation's beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from astraea.server.fields import Body, FieldError, Header, Place, Request, identifier, truth

__all__ = ["CONVENTIONS", "Convention", "Identity", "identify"]


@frozen(slots=True, kw_only=True)
class Identity:
    """What a request says of its place among other requests."""

    tenant: str
    """Whoever the key belongs to; nothing in a request can say it."""
    session_id: str | None
    job_id: str | None
    parent_id: str | None
    """The session that this one works for."""
    final: bool
    """The session ends with this turn."""
    affinity: str | None
    """Requests with the same key like the same cache; it neither makes a session nor keeps a prefix apart."""
    source: str
    """Name of the convention that gave the session; empty for none."""


@frozen(slots=True)
class Convention:
    """Where one kind of client writes who it is."""

    name: str
    session: tuple[Place, ...]
    """The first that is there counts: the same fact under its newer and its older names."""
    child: Place | None = field(default=None, kw_only=True)
    """The session inside that session."""
    parent: Place | None = field(default=None, kw_only=True)
    job: Place | None = field(default=None, kw_only=True)
    final: Place | None = field(default=None, kw_only=True)
    final_word: str | None = field(default=None, kw_only=True)
    """What stands at ``final`` where it is not true or false but a word among others."""


_AGENTIC = "vllm_xargs.agentic_context"

CONVENTIONS: tuple[Convention, ...] = (
    Convention("session_id", (Body("session_id"),), parent=Body("parent_session_id"), final=Body("final")),
    Convention(
        "agentic_context",
        (Body(f"{_AGENTIC}.session_id"),),
        child=Body(f"{_AGENTIC}.program_id"),
        parent=Body(f"{_AGENTIC}.parent_program_id"),
        job=Body(f"{_AGENTIC}.task_id"),
    ),
    Convention("vllm_xargs", (Body("vllm_xargs.session_id"),)),
    Convention("agent_hint", (Body("agent_hint.session_id"),), parent=Body("agent_hint.parent_session_id")),
    Convention(
        "agent_context",
        (Body("nvext.agent_context.session_id"),),
        parent=Body("nvext.agent_context.parent_session_id"),
        final=Body("nvext.agent_context.session_final"),
    ),
    Convention(
        "trajectory",
        (Body("nvext.agent_context.trajectory_id"),),
        final=Body("nvext.agent_context.trajectory_final"),
    ),
    Convention(
        "session_control",
        (Body("nvext.session_control.session_id"),),
        final=Body("nvext.session_control.action"),
        final_word="close",
    ),
    Convention("nvext.session_params", (Body("nvext.session_params.id"),)),
    Convention("program_id", (Body("program_id"), Body("extra_body.program_id"))),
    Convention("job_id", (Body("job_id"),), job=Body("job_id"), final=Body("is_last_step")),
    Convention("session_params", (Body("session_params.id"),)),
    Convention("agent_hints", (Body("agent_hints.workflow_id"),)),
    Convention("evoke", (Body("kv_transfer_params.evoke.evoke_session"),)),
    Convention(
        "dynamo",
        (Header("x-dynamo-session-id"),),
        parent=Header("x-dynamo-parent-session-id"),
        final=Header("x-dynamo-session-final"),
    ),
    Convention("x-session-id", (Header("x-session-id"),), parent=Header("x-parent-session-id")),
    Convention(
        "claude-code",
        (Header("x-claude-code-session-id"),),
        child=Header("x-claude-code-agent-id"),
        parent=Header("x-claude-code-parent-agent-id"),
    ),
    Convention(
        "codex",
        (Header("thread-id"), Header("session-id"), Header("session_id")),
        parent=Header("x-codex-parent-thread-id"),
    ),
    Convention("opencode", (Header("x-session-affinity"), Header("x-opencode-session"))),
    Convention("deepseek", (Header("x-deepseek-harness-session-id"),)),
    Convention("grok", (Header("x-grok-conv-id"),)),
    Convention("x-correlation-id", (Header("x-correlation-id"),)),
)
"""Every convention, the first that gives a session wins."""

_AFFINITY = Body("prompt_cache_key")
_EXCLUSIVE = (Body("session_id"), Body("session_params"))
"""One server's two ways to name a session, which it refuses together; so do we."""


def identify(body: Mapping[str, object], headers: Mapping[str, str], *, tenant: str = "default") -> Identity:
    """Return who asks, by a request's JSON object and its headers; ``tenant`` is what the key says.

    Raises :class:`~astraea.server.fields.FieldError`, which names the field, for a malformed value, and nothing else.
    """
    request = Request(body, headers)
    if all(request.given(place) is not None for place in _EXCLUSIVE):
        raise FieldError("session_params", "cannot be given together with session_id")
    session_id, outer_id, source = _session(request)
    parent_id = _first_id(request, (convention.parent for convention in CONVENTIONS)) or outer_id
    return Identity(
        tenant=tenant,
        session_id=session_id,
        job_id=_first_id(request, (convention.job for convention in CONVENTIONS)),
        parent_id=None if parent_id == session_id else parent_id,
        final=_is_final(request),
        affinity=identifier(request, _AFFINITY),
        source=source,
    )


def _session(request: Request) -> tuple[str | None, str | None, str]:
    """Return the session, the session around it if there is one, and the convention that gave them."""
    for convention in CONVENTIONS:
        outer_id = _first_id(request, convention.session)
        child_id = _first_id(request, (convention.child,))
        if child_id is not None:
            return child_id, outer_id, convention.name
        if outer_id is not None:
            return outer_id, None, convention.name
    return None, None, ""


def _first_id(request: Request, places: Iterable[Place | None]) -> str | None:
    for place in places:
        found = None if place is None else identifier(request, place)
        if found is not None:
            return found
    return None


def _is_final(request: Request) -> bool:
    for convention in CONVENTIONS:
        if convention.final is None:
            continue
        if convention.final_word is None:
            final = truth(request, convention.final)
        else:
            word = identifier(request, convention.final)
            final = None if word is None else word == convention.final_word
        if final is not None:
            return final
    return False
