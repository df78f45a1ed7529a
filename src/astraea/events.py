"""What a driver tells the scheduler. Each class is one sentence of the contract.

A driver reports what *happened*; it never decides. Every event carries ``now_us``, the driver's monotonic clock in
integer microseconds, which never runs backwards from one event to the next. Identity is the driver's: ids are
opaque strings, unique as each field says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from attrs import frozen

__all__ = [
    "BatchDone",
    "BatchOverdue",
    "Drain",
    "Event",
    "Hints",
    "JobCancelled",
    "Oracle",
    "Outcome",
    "SessionClosed",
    "SharedPrefix",
    "SwapDone",
    "SwapOverdue",
    "ToolReturned",
    "TurnArrived",
    "TurnCancelled",
    "TurnOutcome",
]


class Outcome(StrEnum):
    """How a turn ended inside a batch."""

    TOOL_CALL = "tool_call"
    """The job goes on when its tool returns."""
    FINAL = "final"
    """The job's final answer, unless other turns of the job are still live."""
    LENGTH = "length"
    """The turn produced ``max_output_tokens`` tokens; the job ends as with ``FINAL``."""
    FAILED = "failed"
    """The engine could not run it; its KV is not to be trusted and is dropped. The job ends as with ``FINAL``."""


@frozen(slots=True)
class SharedPrefix:
    """Tokens that several contexts of one tenant begin with (system prompt, tool definitions)."""

    prefix_id: str
    """Unique within the tenant; the same id always means the same tokens."""
    tokens: int
    """Length in tokens; the part that fills whole KV blocks is what is shared."""


@frozen(slots=True)
class Oracle:
    """The unseen future of a turn. Only a simulator knows it, and only a policy marked clairvoyant reads it."""

    output_tokens: int
    """Tokens that this turn will produce."""
    remaining_service_us: int
    """Engine time that the job still needs from this turn on, its caches kept."""


@frozen(slots=True)
class Hints:
    """What a client says about its own turn. Clipped, never trusted: no claim depends on a hint."""

    expected_output_tokens: int | None = None
    expected_tool_wait_us: int | None = None
    parent_job_id: str | None = None
    """A live job of the same tenant that this turn works for; the turn belongs to that job."""
    oracle: Oracle | None = None


@frozen(slots=True)
class TurnArrived:
    """One LLM call is ready to run.

    A ``job_id`` that is not live starts a job, unless the session has a live job: then the turn joins that job as
    another branch. It never queues behind it, because a sub-agent is often the tool that its parent waits for.
    """

    now_us: int
    tenant: str
    session_id: str
    """Unique within the tenant."""
    job_id: str
    """Unique within the tenant among live jobs."""
    turn_id: str
    """Unique among all live turns."""
    context_id: str
    """Branch of the session that this turn continues; unique within the session. One live turn a context."""
    context_tokens: int
    """The whole prompt of the turn, at least 1."""
    reusable_tokens: int
    """How many leading tokens of what the context held before are still a prefix of this prompt."""
    max_output_tokens: int
    """Upper bound of the tokens this turn may produce, at least 1."""
    shared_prefix: SharedPrefix | None = None
    hints: Hints = Hints()


@frozen(slots=True)
class TurnCancelled:
    """The client no longer wants this turn; its job lives on."""

    now_us: int
    turn_id: str


@frozen(slots=True)
class JobCancelled:
    """The client no longer wants this job; all its turns end."""

    now_us: int
    tenant: str
    job_id: str


@frozen(slots=True)
class TurnOutcome:
    """A turn that ended in the last step that a batch ran."""

    turn_id: str
    outcome: Outcome
    tool: str | None = None
    """Name of the called tool where ``outcome`` is ``TOOL_CALL``."""


@frozen(slots=True)
class BatchDone:
    """The owed batch ran ``steps`` steps, each with the chunks that were decided.

    Tokens follow from the decision: every chunk computed its tokens in each step, and every sampling chunk sampled
    one. Only what the scheduler cannot know is reported: which turns ended in the last step. A driver stops a batch
    no later than the step in which a turn ends. ``steps`` 0 means that nothing ran (each turn that ended, failed).
    """

    now_us: int
    batch_id: int
    steps: int
    ended: tuple[TurnOutcome, ...] = ()


@frozen(slots=True)
class BatchOverdue:
    """The engine did not report the batch in time: its turns fail and its blocks are quarantined until it does."""

    now_us: int
    batch_id: int


@frozen(slots=True)
class ToolReturned:
    """The tool that a context waits for has returned; may come just before the next ``TurnArrived`` or not at all."""

    now_us: int
    tenant: str
    session_id: str
    context_id: str


@frozen(slots=True)
class SwapDone:
    """The copy of a ``SwapOut`` or ``SwapIn`` ended; its bytes have arrived unless it failed."""

    now_us: int
    op_id: int
    failed: bool = False


@frozen(slots=True)
class SwapOverdue:
    """A copy was not reported in time: what it touches is quarantined until it is."""

    now_us: int
    op_id: int


@frozen(slots=True)
class SessionClosed:
    """The session will send nothing more: its job ends and its caches are given up."""

    now_us: int
    tenant: str
    session_id: str


@frozen(slots=True)
class Drain:
    """Admit nothing more; what was admitted runs to its end."""

    now_us: int


Event: TypeAlias = (
    TurnArrived
    | TurnCancelled
    | JobCancelled
    | BatchDone
    | BatchOverdue
    | ToolReturned
    | SwapDone
    | SwapOverdue
    | SessionClosed
    | Drain
)
