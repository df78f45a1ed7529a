"""Who is who in a trace: sessions, contexts, jobs and turns, by the rules of :mod:`astraea.events`.

A turn belongs to the live parent job that it names, else to its session's live job, else it starts a job. A job ends
when its last live turn ends with an answer while none of its contexts waits for a tool, when it is cancelled, and when
its session closes. Where its last turn was cancelled, or its engine failed it, a trace does not show whether the job
lives on. What is judged of such a job, and of others against it, holds in both cases.
"""

from __future__ import annotations

from astraea.errors import ContractError
from astraea.events import TurnArrived
from astraea.policy.tables import TURN_ENDS, TurnInput, next_turn_state
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
        self._order = 0

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
        turn.state = next_turn_state(turn.state, happened)
        if turn.waits:
            self.waiting[turn.turn_id] = turn
        else:
            self.waiting.pop(turn.turn_id, None)
        if turn.state in TURN_ENDS:
            del self.turns[turn.turn_id]
            del turn.job.turns[turn.serial]
            turn.context.turn = None
            self.ended[turn.turn_id] = line
            job = turn.job
            job.unsure = happened is not TurnInput.FINISH and not (job.turns or job.tool_waits)

    # Arrivals

    def check_arrival(self, event: TurnArrived) -> None:
        """Raise :class:`ContractError` where the driver may not send this turn."""
        if event.turn_id in self.turns:
            raise ContractError("turn-id-live", f"turn {event.turn_id!r} is live already")
        session = self.sessions.get((event.tenant, event.session_id))
        context = session.contexts.get(event.context_id) if session is not None else None
        if context is not None and context.turn is not None:
            raise ContractError("context-busy", f"context {event.context_id!r} has a live turn")
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
        self.tool_returned(context)
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
        parent = event.hints.parent_job_id
        job = self.jobs.get((event.tenant, parent)) if parent is not None else None
        if job is None:
            job = session.job
        if job is None:
            self.arrived += 1
            self._order += 1
            job = Job(event.tenant, event.job_id, self._order, session, latest_arrival=self._order)
            session.job = self.jobs[event.tenant, event.job_id] = job
        elif job.unsure:
            self._order += 1
            job.unsure, job.latest_arrival, job.bypasses = False, self._order, 0
        job.sessions[session] = None
        return job

    # Tools and ends

    def tool_returned(self, context: Context) -> None:
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
        """End a job if nothing of it is live or waits for a tool."""
        if not job.turns and not job.tool_waits and self.jobs.get((job.tenant, job.job_id)) is job:
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
