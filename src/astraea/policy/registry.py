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
        job = self.jobs.get((event.tenant, event.job_id))
        if job is not None and job.session is not session and event.hints.parent_job_id is None:
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
        self.tool_returned(context, event.now_us)
        self._kv.edit_history(context, event.reusable_tokens)
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
        parent = event.hints.parent_job_id
        if parent is not None and (event.tenant, parent) in self.jobs:
            job = self.jobs[event.tenant, parent]
            if job.session is not session:
                job.child_sessions[session.tenant, session.session_id] = None
            return job
        if session.job is not None:
            return session.job
        self._arrivals += 1
        job = Job(event.tenant, event.job_id, self._arrivals, event.now_us, session)
        session.job = job
        self.jobs[event.tenant, event.job_id] = job
        self._guard.enter(job)
        return job

    def tool_returned(self, context: Context, now_us: int) -> None:
        """End a context's tool wait, if it has one, and learn how long it was."""
        if not context.waits_for:
            return
        if context.job is not None:
            context.job.tool_waits -= 1
        self._policy.tool_returned(context, now_us - context.waits_since_us)
        context.last_tool = context.waits_for
        context.waits_for = ""

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

    def end_job(self, job: Job, *, answered: bool) -> None:
        """End a job that has no live turn; learn from it where it ended with an answer."""
        if answered:
            self._policy.job_ended(job)
        self.worst_bypass = max(self.worst_bypass, self._guard.bypasses(job))
        self._guard.leave(job)
        del self.jobs[job.tenant, job.job_id]
        job.session.job = None
        for session in self._sessions_of(job):
            for context in session.contexts.values():
                if context.job is job:
                    context.job = None
                    context.waits_for = ""
                    context.last_tool = ""
                    context.keep_until_us = 0

    def _sessions_of(self, job: Job) -> list[Session]:
        """Sessions with contexts of the job: its own, and its children's."""
        children = [self.sessions[key] for key in job.child_sessions if key in self.sessions]
        return [job.session, *children]


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
