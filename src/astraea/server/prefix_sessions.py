"""Recognises a conversation by how it begins, for clients that say nothing of who they are.

Whoever sends back an answer that we gave, behind the very messages that we gave it to, goes on with that conversation.
So the place after each answer is an *anchor*: a digest over all messages up to it. A request belongs to the session of
the last of its anchors that is known. Without one (a first message, a history that was edited before its first answer)
it is a new conversation; and so it is where two sessions stand at the same anchor, for equal prompts get equal answers
and the client may be either. Instructions are not part of the digest, since many applications change them from call to
call, but where they tell two such sessions apart they decide.

Anchors are kept for each tenant apart, so many and so long; the least recently used go first. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from attrs import define, field, frozen

from astraea.server.messages import Message, essence, is_answer, is_instruction
from astraea.units import US_PER_S

__all__ = ["Conversation", "Match", "PrefixSessions", "conversation_of"]

_DIGEST_BYTES = 16


@frozen(slots=True)
class Conversation:
    """The messages of one request as digests: what is remembered of them, and nothing that could be read."""

    anchors: tuple[tuple[int, bytes], ...]
    """For each answer in it: how many messages end there, and the digest of these."""
    whole: bytes
    instructions: bytes

    def answered(self, answer: Message) -> bytes:
        """Return the anchor behind an answer to this request."""
        return _next(self.whole, answer)


@frozen(slots=True)
class Match:
    """A conversation that a request goes on with."""

    session_id: str
    context_id: str
    """The branch of the session that gave the answer at the anchor."""
    messages: int
    """How many of the request's messages end at the anchor; those that follow are new."""
    is_latest: bool
    """The branch has given no answer since; else the request leaves it at an earlier place."""


@define(slots=True)
class _Anchor:
    context_id: str
    instructions: bytes
    used_us: int


@define(slots=True)
class _Tenant:
    by_use: dict[tuple[bytes, str], _Anchor] = field(factory=dict)
    """Anchors by digest and session, the least recently used first."""
    sessions_at: dict[bytes, dict[str, None]] = field(factory=dict)
    anchors_of: dict[str, dict[bytes, str]] = field(factory=dict)
    """By session, in the order in which they were answered, each with its branch."""

    def put(self, digest: bytes, session_id: str, anchor: _Anchor) -> None:
        self.by_use.pop((digest, session_id), None)
        self.by_use[digest, session_id] = anchor

    def remove(self, digest: bytes, session_id: str) -> None:
        del self.by_use[digest, session_id]
        del self.sessions_at[digest][session_id]
        if not self.sessions_at[digest]:
            del self.sessions_at[digest]
        del self.anchors_of[session_id][digest]
        if not self.anchors_of[session_id]:
            del self.anchors_of[session_id]

    def latest(self, session_id: str, context_id: str) -> bytes:
        """Return the last anchor of a branch that has one."""
        anchors = reversed(self.anchors_of[session_id].items())
        return next(digest for digest, branch in anchors if branch == context_id)


def conversation_of(messages: Sequence[Message]) -> Conversation:
    """Return the digests of a request's messages."""
    whole = instructions = bytes(_DIGEST_BYTES)
    anchors = []
    for count, message in enumerate(messages, start=1):
        if is_instruction(message):
            instructions = _next(instructions, message)
            continue
        whole = _next(whole, message)
        if is_answer(message):
            anchors.append((count, whole))
    return Conversation(tuple(anchors), whole, instructions)


def _next(before: bytes, message: Message) -> bytes:
    return blake2b(before + essence(message), digest_size=_DIGEST_BYTES).digest()


class PrefixSessions:
    """The anchors of all tenants."""

    def __init__(self, *, anchors_max: int = 16_384, age_max_us: int = 24 * 3_600 * US_PER_S) -> None:
        """Keep at most so many anchors a tenant, each at most so long after its last use."""
        self._anchors_max = anchors_max
        self._age_max_us = age_max_us
        self._tenants: dict[str, _Tenant] = {}

    def find(
        self, tenant: str, conversation: Conversation, now_us: int, *, session_id: str | None = None
    ) -> Match | None:
        """Return what the request goes on with, ``None`` for a new conversation.

        Where the client said which session it is, only that one's branches are looked at.
        """
        known = self._of(tenant, now_us)
        for messages, digest in reversed(conversation.anchors):
            sessions = list(known.sessions_at.get(digest, ()))
            if session_id is not None:
                sessions = [session_id] if session_id in sessions else []
            if not sessions:
                continue
            found = self._only(known, digest, sessions, conversation.instructions)
            if found is None:
                return None
            context_id = known.by_use[digest, found].context_id
            known.put(digest, found, _Anchor(context_id, conversation.instructions, now_us))
            return Match(found, context_id, messages, known.latest(found, context_id) == digest)
        return None

    @staticmethod
    def _only(known: _Tenant, digest: bytes, sessions: Sequence[str], instructions: bytes) -> str | None:
        """Return the one session that a request at an anchor can mean."""
        if len(sessions) > 1:
            sessions = [other for other in sessions if known.by_use[digest, other].instructions == instructions]
        return sessions[0] if len(sessions) == 1 else None

    def answered(
        self, tenant: str, conversation: Conversation, answer: Message, now_us: int, *, session_id: str, context_id: str
    ) -> None:
        """Note an answer of ours, and whose it is; one call for each of several answers to one request."""
        known = self._of(tenant, now_us)
        digest = conversation.answered(answer)
        known.sessions_at.setdefault(digest, {})[session_id] = None
        anchors = known.anchors_of.setdefault(session_id, {})
        anchors.pop(digest, None)
        anchors[digest] = context_id
        known.put(digest, session_id, _Anchor(context_id, conversation.instructions, now_us))
        self._tidy(known, now_us)

    def forget(self, tenant: str, session_id: str) -> None:
        """Forget a session that is closed."""
        known = self._tenants.get(tenant, _Tenant())
        for digest in list(known.anchors_of.get(session_id, ())):
            known.remove(digest, session_id)

    def __len__(self) -> int:
        return sum(len(known.by_use) for known in self._tenants.values())

    def _of(self, tenant: str, now_us: int) -> _Tenant:
        known = self._tenants.setdefault(tenant, _Tenant())
        self._tidy(known, now_us)
        return known

    def _tidy(self, known: _Tenant, now_us: int) -> None:
        while known.by_use:
            oldest, anchor = next(iter(known.by_use.items()))
            if len(known.by_use) <= self._anchors_max and now_us - anchor.used_us <= self._age_max_us:
                return
            known.remove(*oldest)
