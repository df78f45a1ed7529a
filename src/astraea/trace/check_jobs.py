"""Who is who in a trace: sessions, contexts, jobs and turns, by the rules of :mod:`astraea.events`.

A turn belongs to the live parent job that it names, else to the job that its context works for, else to its session's
live job, else it starts one. A job is over with a final answer, a failure or a refusal on any branch, and ends once
none of its turns is live and none of its contexts waits for a tool; cancelling a turn does not make it over. It also
ends when it is cancelled and when its session closes.
"""

from __future__ import annotations

from astraea.errors import ContractError
from astraea.events import TurnArrived
from astraea.policy.tables import TURN_ENDS, TURN_TABLE, TurnInput
from astraea.trace.check_records import Context, Job, Session, Turn, broken

__all__ = ["Jobs"]


class Jobs:
    """All that is live, and what has ended."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str], Session] = {}
        self.jobs: dict[tuple[str, str], Job] = {}
        self.turns: dict[str, Turn] = {}
        """Live turns."""
        self.waiting: dict[str, Turn] = {}
        """Those that wait in the sense of LIVE-1."""
        self.ended: dict[str, int] = {}
        """Line at which each turn ended."""
        self.arrived = 0
        self.admitted = 0

    # Turns

    def turn(self, turn_id: str, what: str) -> Turn:
        """Return the live turn that a decision names."""
        turn = self.turns.get(turn_id)
        if turn is None:
            line = self.ended.get(turn_id)
            if line is not None:
                broken("INV-4", f"turn {turn_id!r} ended at line {line} and is {what} now")
            broken("INV-2", f"turn {turn_id!r} is {what} but was never admitted")
        return turn

    def move(self, turn: Turn, happened: TurnInput, line: int) -> None:
        """Move a turn by its table (INV-2); one that ends is forgotten (INV-4: so it ends once)."""
        state = TURN_TABLE.get(turn.state, {}).get(happened)
        if state is None:
            broken("INV-2", f"turn {turn.turn_id!r} is {turn.state} and cannot take {happened}")
        turn.state = state
        if turn.waits:
            self.waiting[turn.turn_id] = turn
        else:
            self.waiting.pop(turn.turn_id, None)
        if turn.state in TURN_ENDS:
            del self.turns[turn.turn_id]
            del turn.job.turns[turn.serial]
            turn.context.turn = None
            self.ended[turn.turn_id] = line

    # Arrivals

    def check_arrival(self, event: TurnArrived) -> None:
        """Raise :class:`ContractError` where the driver may not send this turn."""
        if event.turn_id in self.turns:
            raise ContractError("turn-id-live", f"turn {event.turn_id!r} is live already")
        session = self.sessions.get((event.tenant, event.session_id))
        context = session.contexts.get(event.context_id) if session is not None else None
        if context is not None and context.turn is not None:
            raise ContractError("context-busy", f"context {event.context_id!r} has a live turn")
        if self.joined(event) is None and (event.tenant, event.job_id) in self.jobs:
            raise ContractError("job-elsewhere", f"job {event.job_id!r} is live in another session")
        if not 0 <= event.reusable_tokens <= event.context_tokens or event.context_tokens < 1:
            raise ContractError("bad-number", f"turn {event.turn_id!r} has impossible token counts")
        if event.max_output_tokens < 1:
            raise ContractError("bad-number", f"turn {event.turn_id!r} may produce no token")

    def arrive(self, event: TurnArrived, line: int) -> Turn:
        """Admit a turn."""
        key = (event.tenant, event.session_id)
        session = self.sessions.get(key)
        if session is None:
            session = self.sessions[key] = Session(*key)
        context = session.contexts.get(event.context_id)
        if context is None:
            context = session.contexts[event.context_id] = Context(*key, event.context_id)
        self.forget_wait(context)
        job = self._job_of(event, session)
        self.admitted += 1
        turn = Turn(
            turn_id=event.turn_id,
            serial=self.admitted,
            line=line,
            job=job,
            context=context,
            prompt_tokens=event.context_tokens,
            max_output_tokens=event.max_output_tokens,
        )
        job.turns[turn.serial] = turn
        context.turn, context.job = turn, job
        self.turns[event.turn_id] = self.waiting[event.turn_id] = turn
        return turn

    def _job_of(self, event: TurnArrived, session: Session) -> Job:
        job = self.joined(event)
        if job is None:
            self.arrived += 1
            job = Job(event.tenant, event.job_id, self.arrived, session)
            session.job = self.jobs[event.tenant, event.job_id] = job
        job.sessions[session] = None
        return job

    def joined(self, event: TurnArrived) -> Job | None:
        """Return the live job that a turn joins, or ``None`` where it starts one."""
        parent = event.hints.parent_job_id
        job = self.jobs.get((event.tenant, parent)) if parent is not None else None
        session = self.sessions.get((event.tenant, event.session_id))
        if job is not None or session is None:
            return job
        context = session.contexts.get(event.context_id)
        return context.job if context is not None and context.job is not None else session.job

    # Tools and ends

    @staticmethod
    def forget_wait(context: Context) -> None:
        """End a context's tool wait, if it has one."""
        if context.waits_for_tool:
            context.waits_for_tool = False
            if context.job is not None:
                context.job.tool_waits -= 1

    def call_tool(self, context: Context) -> None:
        """Let a context wait for a tool."""
        context.waits_for_tool = True
        if context.job is not None:
            context.job.tool_waits += 1

    def end_if_done(self, job: Job) -> None:
        """End a job that is over, if nothing of it is live or waits for a tool."""
        if job.over and not job.turns and not job.tool_waits and self.jobs.get((job.tenant, job.job_id)) is job:
            self.end(job)

    def end(self, job: Job) -> None:
        """End a job; its turns that are being stopped may outlive it."""
        del self.jobs[job.tenant, job.job_id]
        job.session.job = None
        for session in job.sessions:
            for context in session.contexts.values():
                if context.job is job:
                    context.job = None
                    context.waits_for_tool = False

    def session(self, tenant: str, session_id: str) -> Session:
        """Return a session that an event names."""
        session = self.sessions.get((tenant, session_id))
        if session is None:
            raise ContractError("unknown-session", f"session {session_id!r} is not known")
        return session
