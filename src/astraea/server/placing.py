"""Finds what a request goes on with, and keeps what was answered for the next one to be found by.

It is found by the name that it gives, by a tool call of ours that it answers, by our own answers in its history, or by
its first tokens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from attrs import define

from astraea.executor.histories import common_tokens
from astraea.executor.requests import Finish
from astraea.server.identity import Identity
from astraea.server.prefix_sessions import Conversation, PrefixSessions, conversation_of
from astraea.server.replies import Choice
from astraea.server.sessions import Branch, Ended, Placed, Session, Sessions

__all__ = ["Placing", "Sequel"]


@define(eq=False)
class Sequel:
    """What a request goes on with."""

    identity: Identity
    session: Session
    branch: Branch | None
    """An idle branch that it continues; ``None`` for a new one."""
    parent: Session | None
    conversation: Conversation | None
    continues: bool
    """It brings the result of a tool."""


class Placing:
    """The sessions of all tenants and how they are recognised."""

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        """``now_us``: monotonic microseconds; the machine's by default."""
        self.now_us = now_us or (lambda: time.monotonic_ns() // 1000)
        self.sessions = Sessions()
        self._prefixes = PrefixSessions()

    def find(
        self,
        identity: Identity,
        messages: Sequence[Mapping[str, object]] | None,
        prompt: Sequence[int],
        *,
        session_id: str | None = None,
    ) -> Sequel:
        """Return what a request goes on with; ``session_id`` where it names an earlier answer of ours."""
        tenant, now_us = identity.tenant, self.now_us()
        named = identity.session_id or session_id
        conversation = None if messages is None else conversation_of(messages)
        match = None
        if conversation is not None:
            match = self._prefixes.find(tenant, conversation, now_us, session_id=named)
        chosen = named or (match.session_id if match is not None else f"anon-{secrets.token_hex(12)}")
        session = self.sessions.enter(tenant, chosen, now_us)
        branch = None
        if match is not None and match.is_latest:
            branch = session.branches.get(match.context_id)
        elif named is not None and match is None:
            branch = _answering(session, messages or ()) or _beginning_alike(session, prompt)
        if branch is not None and branch.busy:
            branch = None
        parent = None
        if identity.parent_id is not None:
            parent = self.sessions.find(tenant, identity.parent_id)
        continues = bool(messages) and messages is not None and messages[-1].get("role") == "tool"
        return Sequel(identity, session, branch, parent, conversation, continues)

    def place(self, sequel: Sequel, *, first: bool) -> Placed:
        """Return where a turn of the request belongs: the first one goes on, the others are branches of their own."""
        asked = b"" if sequel.conversation is None else sequel.conversation.whole
        return self.sessions.place(
            sequel.session,
            sequel.branch if first else None,
            continues=sequel.continues or not first,
            asked=asked,
            parent=sequel.parent,
            now_us=self.now_us(),
        )

    def ended(self, sequel: Sequel, choice: Choice) -> Ended:
        """Note how a turn ended, so that the next request is recognised by its answer."""
        answer, branch = choice.answer, choice.placed.branch
        answered = answer.finish in {Finish.STOP, Finish.LENGTH}
        calls = choice.content.calls if answered else ()
        ran = choice.stream.began_s is not None
        ended = self.sessions.ended(
            branch,
            answered=answered or answer.finish is Finish.FAILED,
            calls=[call.call_id for call in calls],
            tokens=[*answer.request.prompt, *answer.tokens] if ran else (),
            now_us=self.now_us(),
        )
        if answered and sequel.conversation is not None:
            self._prefixes.answered(
                sequel.session.tenant,
                sequel.conversation,
                choice.content.as_message(),
                self.now_us(),
                session_id=sequel.session.session_id,
                context_id=branch.context_id,
            )
        return ended

    def never_ran(self, placed: Placed) -> None:
        """Take back a turn that could not be submitted."""
        self.sessions.ended(placed.branch, answered=False, calls=(), tokens=(), now_us=self.now_us())

    def forget(self, tenant: str, session_id: str) -> bool:
        """Forget a session that is closed; return whether it was known."""
        self._prefixes.forget(tenant, session_id)
        return self.sessions.forget(tenant, session_id)

    def idle(self, idle_max_us: int) -> list[Session]:
        """Return the sessions to close."""
        return self.sessions.idle(self.now_us(), idle_max_us)


def _answering(session: Session, messages: Sequence[Mapping[str, object]]) -> Branch | None:
    """Return the branch whose tool call the last messages answer."""
    for message in reversed(messages):
        if message.get("role") != "tool":
            return None
        call_id = message.get("tool_call_id")
        for branch in session.branches.values():
            if call_id in branch.calls:
                return branch
    return None


def _beginning_alike(session: Session, prompt: Sequence[int]) -> Branch | None:
    """Return the idle branch of which the prompt keeps most, if that is at least half.

    One that waits for a tool is left alone: the tool may be the sub-agent that asks, and begin with the same words.
    """
    best, most = None, 0
    asked = list(prompt)
    for branch in session.branches.values():
        if branch.busy or branch.calls or not branch.tokens:
            continue
        common = common_tokens(branch.tokens.tolist(), asked)
        if common > most and 2 * common >= len(branch.tokens):
            best, most = branch, common
    return best
