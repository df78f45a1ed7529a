"""Which session, branch and job each turn belongs to, as the server sees it.

A session's branches are its contexts. A turn goes on with the branch that gave the answers in its history; where that
branch is busy or went on without it, it opens another. A last message of a tool continues the branch's job, and one of
a user begins a job; if the branch was waiting for a tool then, its job is given up. A turn of a session with a live job
joins it, and one that names a parent session belongs to that session's live job. The scheduler has the same rules and
the last word; this is what the server must know to name things and to measure jobs.
"""

from __future__ import annotations

import secrets
from array import array
from collections import OrderedDict
from collections.abc import Collection, Sequence

from attrs import define, field

from astraea.units import US_PER_S

__all__ = ["Branch", "Ended", "Job", "Placed", "Session", "Sessions"]


@define(eq=False, slots=True)
class Job:
    """One request of a person, from its first turn to its answer."""

    tenant: str
    job_id: str
    began_us: int
    live: int = 0
    turns: int = 0
    answered: bool = False
    """Some branch of it gave an answer."""
    branches: set[Branch] = field(factory=set)
    """Those that work for it."""
    waiting: set[Branch] = field(factory=set)
    """Those whose tools it waits for."""

    @property
    def is_left(self) -> bool:
        """Whether nothing of it runs or is waited for: its client went away in the middle."""
        return not self.live and not self.waiting


@define(eq=False, slots=True)
class Branch:
    """One context of a session."""

    session: Session
    context_id: str
    tokens: array[int] = field(factory=lambda: array("i"))
    """What its KV is of, as far as the server knows."""
    busy: bool = False
    job: Job | None = None
    calls: frozenset[str] = frozenset()
    """Ids of the tool calls that it waits for."""
    asked: bytes = b""
    """Digest of the messages that it was asked last."""


@define(eq=False, slots=True)
class Session:
    """One agent's conversation."""

    tenant: str
    session_id: str
    used_us: int
    branches: dict[str, Branch] = field(factory=dict)
    job: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether a turn of it is live."""
        return any(branch.busy for branch in self.branches.values())


@define(eq=False, slots=True)
class Placed:
    """Where a turn belongs."""

    branch: Branch
    job: Job
    parent_job_id: str | None
    abandoned: Job | None
    """The job that ends because this turn came instead of its tools."""
    is_new: bool
    """Whether the branch is."""


@define(slots=True)
class Ended:
    """What the end of a turn is for its job."""

    job: Job
    is_over: bool
    """The job has its answer, and nothing of it is left."""


class Sessions:
    """All sessions of one server, the least recently used first."""

    def __init__(self, *, sessions_max: int = 8_192, branches_max: int = 64) -> None:
        self._sessions_max = sessions_max
        self._branches_max = branches_max
        self._all: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def find(self, tenant: str, session_id: str) -> Session | None:
        """Return a session."""
        return self._all.get((tenant, session_id))

    def all_ids(self) -> list[str]:
        """Return the ids of all sessions, the least recently used first."""
        return [session_id for _, session_id in self._all]

    def enter(self, tenant: str, session_id: str, now_us: int) -> Session:
        """Return a session that a turn came for, a new one where it is unknown."""
        session = self._all.get((tenant, session_id))
        if session is None:
            session = self._all[tenant, session_id] = Session(tenant, session_id, now_us)
        session.used_us = now_us
        self._all.move_to_end((tenant, session_id))
        return session

    # Where a turn belongs

    def place(
        self, session: Session, branch: Branch | None, *, continues: bool, asked: bytes, parent: Session | None,
        now_us: int,
    ) -> Placed:  # fmt: skip
        """Return where a turn belongs that goes on with an idle ``branch``, or with none that is known.

        ``continues``: whether it brings a tool's result. ``asked``: digest of its messages, by which a repetition of
        a turn that was cut off is known.
        """
        is_new = branch is None
        if branch is None:
            branch = self._new_branch(session)
        abandoned = None
        if not continues and not (asked and asked == branch.asked):
            old = branch.job or session.job
            if old is not None and not old.live and (old is branch.job or old.is_left):
                abandoned = old
                self._over(old)
        named = parent.job if parent is not None and parent is not session else None
        job = named or branch.job or session.job
        if job is None:
            job = session.job = Job(session.tenant, f"job-{secrets.token_hex(8)}", now_us)
        job.waiting.discard(branch)
        job.live += 1
        job.turns += 1
        job.branches.add(branch)
        branch.job, branch.busy, branch.calls, branch.asked = job, True, frozenset(), asked
        return Placed(branch, job, named.job_id if named is not None else None, abandoned, is_new)

    def _new_branch(self, session: Session) -> Branch:
        if len(session.branches) >= self._branches_max:
            idle = (one for one in session.branches.values() if not one.busy and not one.calls)
            forgotten = next(idle, None)
            if forgotten is not None:
                del session.branches[forgotten.context_id]
        branch = Branch(session, f"b-{secrets.token_hex(8)}")
        session.branches[branch.context_id] = branch
        return branch

    @staticmethod
    def _over(job: Job) -> None:
        """Take a job off everything that names it."""
        for branch in job.branches:
            if branch.job is job:
                branch.job, branch.calls = None, frozenset()
            if branch.session.job is job:
                branch.session.job = None
        job.branches.clear()
        job.waiting.clear()

    # What became of it

    def ended(
        self, branch: Branch, *, answered: bool, calls: Collection[str], tokens: Sequence[int], now_us: int
    ) -> Ended:
        """Note the end of a branch's turn: whether it gave an answer, the tools it called, and its tokens if it ran."""
        job = branch.job
        assert job is not None
        branch.busy = False
        branch.session.used_us = now_us
        if tokens:
            branch.tokens = array("i", tokens)
        branch.calls = frozenset(calls)
        job.live -= 1
        if calls:
            job.waiting.add(branch)
        job.answered |= answered and not calls
        is_over = job.answered and job.is_left
        if is_over:
            self._over(job)
        return Ended(job, is_over)

    def forget(self, tenant: str, session_id: str) -> bool:
        """Forget a session that is closed; return whether it was known."""
        session = self._all.pop((tenant, session_id), None)
        if session is None:
            return False
        if session.job is not None and not session.job.live:
            self._over(session.job)
        for branch in session.branches.values():
            if branch.job is not None:
                branch.job.waiting.discard(branch)
                branch.job.branches.discard(branch)
        return True

    def idle(self, now_us: int, idle_max_us: int = 600 * US_PER_S) -> list[Session]:
        """Return the sessions that sent nothing for too long, and those that are too many."""
        found = []
        excess = len(self._all) - self._sessions_max
        for session in self._all.values():
            if session.busy:
                continue
            if excess <= 0 and now_us - session.used_us < idle_max_us:
                break
            found.append(session)
            excess -= 1
        return found
