"""What the checker knows of a run, as it follows from the trace alone: plain records that judge nothing.

They are the checker's own. The only thing shared with the scheduler is the literal turn table, which *is* the rule.
"""

from __future__ import annotations

from typing import Never

from attrs import Factory, define

from astraea.decisions import Chunk, Reason
from astraea.errors import InvariantError
from astraea.policy.tables import TurnState

__all__ = ["WAITS", "WANTING_ROOM", "Batch", "Context", "Copy", "Holding", "Job", "Prefix", "Session", "Turn", "broken"]

WANTING_ROOM = frozenset({Reason.NO_ROOM, Reason.HEADROOM, Reason.RESERVED, Reason.COPYING, Reason.BLOCKED_START})
"""Reasons of a ``Hold`` for which a turn may hold back those behind it."""
WAITS = frozenset({TurnState.WAITING, TurnState.PREEMPTED, TurnState.RETURNING})


def broken(claim: str, sentence: str) -> Never:
    """Say that a claim is broken."""
    raise InvariantError(claim, sentence)


@define(slots=True, eq=False)
class Prefix:
    """A shared prefix on the device, counted once."""

    tenant: str
    prefix_id: str
    tokens: int
    blocks: int
    ready_tokens: int = 0
    device_blocks: int = 0
    holders: int = 0
    """Running turns and copies that need it now."""
    filler: Turn | None = None
    users: dict[Context, None] = Factory(dict)
    replaced: bool = False
    """Its filling is overdue: it is quarantined, and a new one stands in its place."""


@define(slots=True, eq=False)
class Holding:
    """The private KV of one context, on the device and on the host."""

    context: Context
    prefix: Prefix | None = None
    device_tokens: int = 0
    device_blocks: int = 0
    host_tokens: int = 0
    host_blocks: int = 0
    cap_tokens: int | None = None
    """Since the last edit of the history: what lies beyond is no longer a prefix."""
    edited_in_copy: bool = False
    cap_prefix_tokens: int = 0
    """With how much of its shared prefix the prompt begins, where the history was edited during a copy."""
    copy: Copy | None = None
    closed_line: int = 0
    """Line at which its session closed, else 0."""
    frozen: bool = False
    """Quarantined: a report is overdue."""

    @property
    def name(self) -> str:
        """How a sentence calls it."""
        return f"context {self.context.context_id!r} of session {self.context.session_id!r}"


@define(slots=True, eq=False)
class Context:
    """One branch of a session."""

    tenant: str
    session_id: str
    context_id: str
    holding: Holding = Factory(Holding, takes_self=True)
    turn: Turn | None = None
    job: Job | None = None
    waits_for_tool: bool = False


@define(slots=True, eq=False)
class Session:
    """One agent's conversation."""

    tenant: str
    session_id: str
    contexts: dict[str, Context] = Factory(dict)
    job: Job | None = None


@define(slots=True, eq=False)
class Job:
    """One user request, and how often it was bypassed."""

    tenant: str
    job_id: str
    arrival: int
    session: Session
    turns: dict[int, Turn] = Factory(dict)
    tool_waits: int = 0
    sessions: dict[Session, None] = Factory(dict)
    """Its own session and those of turns that work for it."""
    over: bool = False
    """Whether a branch of it came to its end: it ends once nothing of it is left."""
    bypasses: int = 0


@define(slots=True, eq=False)
class Turn:
    """One LLM call."""

    turn_id: str
    serial: int
    line: int
    """Line of its arrival."""
    job: Job
    context: Context
    prompt_tokens: int
    max_output_tokens: int
    state: TurnState = TurnState.WAITING
    sampled: int = 0
    preemptions: int = 0
    reserved_tokens: int = 0
    held: Reason | None = None
    """Why it was held back, by the last ``Hold`` since it began to wait."""

    @property
    def goal_tokens(self) -> int:
        """Tokens that are known: the prompt and what was sampled."""
        return self.prompt_tokens + self.sampled

    @property
    def max_tokens(self) -> int:
        """Most tokens that it may ever hold."""
        return self.prompt_tokens + self.max_output_tokens

    @property
    def waits(self) -> bool:
        """Whether it waits in the sense of LIVE-1."""
        return self.state in WAITS


@define(slots=True, eq=False)
class Copy:
    """A swap that is owed a report."""

    op_id: int
    holding: Holding
    turn: Turn | None
    """The turn of a ``SwapIn``; ``None`` for a ``SwapOut``."""
    to_tokens: int
    keep_tokens: int
    fills_prefix: bool = False


@define(slots=True, eq=False)
class Batch:
    """A batch that is owed a report."""

    batch_id: int
    line: int
    chunks: tuple[Chunk, ...]
    max_steps: int
    members: dict[str, Turn]
