"""Who is who: sessions, contexts, jobs and turns, their beginnings and their ends.

A job begins with a turn whose ``job_id`` is not live, unless the session has a live job or a parent job is named: then
the turn joins that one. A job ends with a final answer once none of its turns is live and none of its contexts waits
for a tool, or when it is cancelled or its session is closed.
"""

from __future__ import annotations

from astraea.errors import ContractError
from astraea.events import TurnArrived
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.policy.state import Context, Job, Session, Turn

__all__ = ["Registry"]


class Registry:
    """All live sessions, jobs and turns of one scheduler."""

    def __init__(self, limits: Limits, policy: Policy, kv: KvCaches, guard: BypassGuard) -> None:
        self._limits = limits
        self._policy = policy
        self._kv = kv
        self._guard = guard
        self.sessions: dict[tuple[str, str], Session] = {}
        self.jobs: dict[tuple[str, str], Job] = {}
        self.turns: dict[str, Turn] = {}
        self.tenant_turns: dict[str, int] = {}
        self._arrivals = 0
        self._serials = 0
        self.worst_bypass = 0

    def check_arrival(self, event: TurnArrived) -> None:
        """Raise :class:`ContractError` where the driver may not send this turn; change nothing."""
        _check_numbers(event)
        if event.turn_id in self.turns:
            raise ContractError("turn-id-live", f"turn {event.turn_id!r} is live already; give each turn a new id")
        session = self.sessions.get((event.tenant, event.session_id))
        context = session.contexts.get(event.context_id) if session is not None else None
        if context is not None and context.turn is not None:
            sentence = f"context {event.context_id!r} has live turn {context.turn.turn_id!r}; open another context"
            raise ContractError("context-busy", sentence)
        if self._joined(event, session) is None and (event.tenant, event.job_id) in self.jobs:
            raise ContractError("job-elsewhere", f"job {event.job_id!r} is live in another session")

    def arrive(self, event: TurnArrived) -> Turn:
        """Make the records of a turn that was checked and is admitted."""
        session = self.sessions.get((event.tenant, event.session_id))
        if session is None:
            session = Session(event.tenant, event.session_id)
            self.sessions[event.tenant, event.session_id] = session
        context = session.contexts.get(event.context_id)
        if context is None:
            context = session.contexts[event.context_id] = Context(session, event.context_id)
            if event.shared_prefix is not None:
                tokens = min(event.shared_prefix.tokens, event.context_tokens - 1)
                self._kv.prefixes.name(context, event.shared_prefix.prefix_id, tokens)
        self._take_up(context, event.now_us)
        self._kv.edit_history(context, event.reusable_tokens, _prefix_tokens(event, context))
        job = self._job_of(event, session)
        self._serials += 1
        turn = Turn(
            turn_id=event.turn_id, serial=self._serials, job=job, context=context,
            prompt_tokens=event.context_tokens, max_output_tokens=event.max_output_tokens,
            new_tokens=event.context_tokens - event.reusable_tokens, hints=event.hints, index=job.turns_begun,
        )  # fmt: skip
        job.turns_begun += 1
        job.turns[turn.serial] = turn
        context.turn = turn
        context.job = job
        context.keep_until_us = 0
        self.turns[event.turn_id] = turn
        self.tenant_turns[event.tenant] = self.tenant_turns.get(event.tenant, 0) + 1
        return turn

    def _job_of(self, event: TurnArrived, session: Session) -> Job:
        job = self._joined(event, session)
        if job is not None:
            if job.session is not session:
                job.child_sessions[session.tenant, session.session_id] = None
            return job
        self._arrivals += 1
        job = Job(event.tenant, event.job_id, self._arrivals, event.now_us, session)
        session.job = job
        self.jobs[event.tenant, event.job_id] = job
        self._guard.enter(job)
        return job

    def _joined(self, event: TurnArrived, session: Session | None) -> Job | None:
        """Return the live job that a turn joins, or ``None`` where it starts one.

        That is the job its hint names, else the job that its context works for, else its session's.
        """
        parent = event.hints.parent_job_id
        job = None if parent is None else self.jobs.get((event.tenant, parent))
        if job is not None or session is None:
            return job
        context = session.contexts.get(event.context_id)
        return context.job if context is not None and context.job is not None else session.job

    def joins_live_job(self, event: TurnArrived) -> bool:
        """Return whether a turn belongs to a job that was admitted before."""
        return self._joined(event, self.sessions.get((event.tenant, event.session_id))) is not None

    def tool_returned(self, context: Context, now_us: int) -> None:
        """Learn how long a tool took; the job still expects the turn that takes the result up."""
        if not context.tool_returned:
            self._policy.tool_returned(context, now_us - context.waits_since_us)
            context.tool_returned = True

    def _take_up(self, context: Context, now_us: int) -> None:
        """End a context's tool wait, if it has one: the next turn is here."""
        if context.waits_for:
            self.tool_returned(context, now_us)
            context.last_tool = context.waits_for
            self.forget_wait(context)

    @staticmethod
    def forget_wait(context: Context) -> None:
        """Let a context wait for no tool."""
        if context.waits_for and context.job is not None:
            context.job.tool_waits -= 1
        context.waits_for = ""
        context.tool_returned = False

    def call_tool(self, context: Context, tool: str, now_us: int) -> None:
        """Let a context wait for a tool."""
        assert context.job is not None
        context.waits_for = tool
        context.waits_since_us = now_us
        context.job.tool_waits += 1

    def forget_turn(self, turn: Turn) -> None:
        """Take an ended turn out of the records."""
        del self.turns[turn.turn_id]
        del turn.job.turns[turn.serial]
        turn.context.turn = None
        tenant = turn.job.tenant
        left = self.tenant_turns[tenant] - 1
        if left:
            self.tenant_turns[tenant] = left
        else:
            del self.tenant_turns[tenant]

    def end_job_if_done(self, job: Job) -> None:
        """End a job that is over on some branch and has nothing left to wait for; learn from it unless it failed."""
        if job.over and not job.turns and not job.tool_waits and self.jobs.get((job.tenant, job.job_id)) is job:
            if not job.failed:
                self._policy.job_ended(job)
            self.end_job(job)

    def end_job(self, job: Job) -> None:
        """Forget a job none of whose turns waits or runs on; stopping ones may be left."""
        self.worst_bypass = max(self.worst_bypass, self._guard.bypasses(job))
        self._guard.leave(job)
        del self.jobs[job.tenant, job.job_id]
        job.session.job = None
        for session in self._sessions_of(job):
            for context in session.contexts.values():
                if context.job is job:
                    self.forget_wait(context)
                    context.job = None
                    context.last_tool = ""
                    context.keep_until_us = 0

    def _sessions_of(self, job: Job) -> list[Session]:
        """Sessions with contexts of the job: its own, and its children's."""
        children = [self.sessions[key] for key in job.child_sessions if key in self.sessions]
        return [job.session, *children]


def _prefix_tokens(event: TurnArrived, context: Context) -> int:
    """Return how many tokens of the context's shared prefix the prompt begins with, and more than those."""
    prefix, shared = context.holding.prefix, event.shared_prefix
    named = prefix is not None and shared is not None and shared.prefix_id == prefix.prefix_id
    begins = max(event.reusable_tokens, shared.tokens if named and shared is not None else 0)
    return min(begins, event.context_tokens - 1)


def _check_numbers(event: TurnArrived) -> None:
    wrong = ""
    if event.context_tokens < 1:
        wrong = "context_tokens must be at least 1"
    elif not 0 <= event.reusable_tokens <= event.context_tokens:
        wrong = "reusable_tokens must be between 0 and context_tokens"
    elif event.max_output_tokens < 1:
        wrong = "max_output_tokens must be at least 1"
    elif event.shared_prefix is not None and event.shared_prefix.tokens < 0:
        wrong = "shared_prefix.tokens must not be negative"
    if wrong:
        raise ContractError("bad-number", f"turn {event.turn_id!r}: {wrong}")
