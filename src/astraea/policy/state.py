"""The scheduler's nouns as mutable records: what is known of each session, job, turn, context and cache.

Records hold facts and answer questions about themselves; they decide nothing. Only ``core.py`` and the files it calls
change them. A *holding* is the KV of one context; token counts are absolute, from the first token of the prompt, and
its blocks are private: the blocks of a shared prefix are counted once, in :class:`Prefix`.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from astraea.decisions import Chunk, Reason
from astraea.events import Hints
from astraea.policy.tables import KvInput, KvState, TurnInput, TurnState, next_kv_state, next_turn_state

__all__ = ["Cache", "Context", "Holding", "Job", "Prefix", "Session", "SwapOp", "Turn", "TurnRecord"]


@define(slots=True, eq=False)
class Prefix:
    """The device KV of a shared prefix, held once for all contexts of its tenant that begin with it."""

    tenant: str
    prefix_id: str
    tokens: int
    """Only whole blocks are shared."""
    blocks: int
    ready_tokens: int = 0
    device_blocks: int = 0
    """Either 0 or what is allocated for the tokens that are ready or being filled."""
    holders: int = 0
    """Running turns and copies in flight that need it."""
    dependents: int = 0
    """Holdings with private device blocks behind it, whatever their state."""
    filler: Turn | None = None
    """The turn that is computing or restoring it."""
    users: dict[Context, None] = Factory(dict)
    """Contexts that name it; once there is none and its KV is gone, the record is forgotten."""
    replaced: bool = False
    """Its filling is overdue: its blocks are quarantined, and a new record stands in its place."""
    cache_serial: int = 0
    """Place in order of last use while evictable, else 0."""

    @property
    def ready(self) -> bool:
        """Whether the whole prefix can be used."""
        return self.ready_tokens == self.tokens


@define(slots=True, eq=False)
class Holding:
    """The private KV of a context: a leading part on the device, a leading part on the host."""

    prefix: Prefix | None = None
    """The shared prefix whose blocks come before the private ones."""
    state: KvState = KvState.NONE
    device_tokens: int = 0
    """Valid tokens, the prefix included; 0 where no private token is held."""
    device_blocks: int = 0
    """Private blocks, reserved ones without tokens included."""
    host_tokens: int = 0
    """The host copy holds this many leading tokens, the prefix included."""
    host_blocks: int = 0
    cap_tokens: int | None = None
    """Where the history was edited during a copy: what is valid when the copy ends."""
    cap_prefix_tokens: int = 0
    """With ``cap_tokens``: how much of the shared prefix the edited prompt still begins with."""

    def take(self, happened: KvInput) -> None:
        """Move by a row of the table (INV-2)."""
        self.state = next_kv_state(self.state, happened)


@define(slots=True, eq=False)
class TurnRecord:
    """What is kept of an ended turn until its job ends: the material that predictions learn from."""

    index: int
    compute_class: int
    context_tokens: int
    new_tokens: int
    output_tokens: int
    attained_us: int
    """Engine time that the job had been given before this turn, by the policy's reckoning."""
    tool: str
    """The tool that returned before this turn; empty for the first."""


@define(slots=True, eq=False)
class Job:
    """One user request to an agent: all its turns, from the first arrival to the final answer."""

    tenant: str
    job_id: str
    arrival: int
    """Order of arrival among all jobs, from 1; the tie-breaker of every order."""
    arrival_us: int
    session: Session
    turns: dict[int, Turn] = Factory(dict)
    """Live turns by serial, in order of arrival."""
    waiting_turns: int = 0
    tool_waits: int = 0
    """Contexts of this job that wait for a tool."""
    wait_us: int = 0
    """Accumulated ready-wait over all turns, up to ``wait_since_us`` while one waits."""
    wait_since_us: int = 0
    ready_key: int = 0
    """``wait_since_us - wait_us``: static while a turn waits, so ``now - ready_key`` is the wait."""
    child_sessions: dict[tuple[str, str], None] = Factory(dict)
    """Other sessions whose turns work for this job."""
    turns_begun: int = 0
    over: bool = False
    """Some branch ended without calling a tool: the job ends once nothing of it is left to wait for."""
    failed: bool = False
    """Some turn was lost; nothing is learnt from the job."""
    level: int = 0
    """Queue of the stateful MLFQ: 0 is I/O-intensive."""
    promoted: bool = False
    records: list[TurnRecord] = Factory(list)
    attained_us: int = 0
    """Engine time that its ended turns took, by the policy's reckoning."""
    bypasses: int = 0
    """Bypasses up to the last wait's end; ``BypassGuard.bypasses`` tells them while it waits."""
    guard_slot: int = 0

    def wait_at(self, now_us: int) -> int:
        """Return the accumulated ready-wait in microseconds at ``now_us``."""
        return now_us - self.ready_key if self.waiting_turns else self.wait_us


@define(slots=True, eq=False)
class Context:
    """One branch of a session and the KV that it may hold."""

    session: Session
    context_id: str
    holding: Holding = Factory(Holding)
    turn: Turn | None = None
    """The live turn that continues it, if any."""
    job: Job | None = None
    """The job that used it last, while that job lives."""
    waits_for: str = ""
    """Name of the tool it waits for; empty where it waits for none."""
    waits_since_us: int = 0
    tool_returned: bool = False
    """The tool has returned, and the next turn is still to come."""
    keep_until_us: int = 0
    """While it waits for a tool: when its cache stops being kept."""
    last_tool: str = ""
    size: int = 0
    """Size that the policy gave its last turn."""
    cache_serial: int = 0
    """Place in order of last use while evictable, else 0."""


Cache = Context | Prefix
"""What eviction may choose among."""


@define(slots=True, eq=False)
class Session:
    """One agent's conversation."""

    tenant: str
    session_id: str
    contexts: dict[str, Context] = Factory(dict)
    job: Job | None = None


@define(slots=True, eq=False)
class Turn:
    """One LLM call."""

    turn_id: str
    serial: int
    """Order of arrival among all turns, from 1."""
    job: Job
    context: Context
    prompt_tokens: int
    max_output_tokens: int
    new_tokens: int
    """Prompt tokens beyond what the context held before."""
    hints: Hints
    state: TurnState = TurnState.WAITING
    index: int = 0
    """Number of turns that the job began before this one."""
    sampled: int = 0
    preemptions: int = 0
    reserves_max: bool = False
    """Its blocks hold prompt and maximum output: it can no longer lack one."""
    reserved_tokens: int = 0
    """While running: tokens whose blocks it keeps even if they are not computed yet."""
    size: int = 0
    starts: bool = False
    """Nothing of its context's own KV is held, on the device or the host."""
    place: Any = None
    """Where the ready queue holds it, in the queue's own terms; ``None`` where it does not."""
    held_for: Reason | None = None
    decode_chunk: Chunk | None = None

    @property
    def goal_tokens(self) -> int:
        """Tokens that are known: computing up to here samples the next one."""
        return self.prompt_tokens + self.sampled

    @property
    def max_tokens(self) -> int:
        """Most tokens that the turn may ever hold."""
        return self.prompt_tokens + self.max_output_tokens

    def take(self, happened: TurnInput) -> None:
        """Move by a row of the table (INV-2)."""
        self.state = next_turn_state(self.state, happened)


@define(slots=True, eq=False)
class SwapOp:
    """A copy that is owed a report."""

    op_id: int
    context: Context
    holding: Holding
    turn: Turn | None
    """The turn of a ``SwapIn``; ``None`` for a ``SwapOut``."""
    from_tokens: int
    to_tokens: int
    keep_tokens: int
    fills_prefix: bool = False
