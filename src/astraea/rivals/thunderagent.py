"""Programs paused and restored so that their contexts fit, those in a tool call counting less and less.

Source: ThunderAgent (arXiv 2602.13692) and its code. A program is *reasoning* (it has a request) or *acting* (a tool
runs, for t so far), with a context of c tokens. The contexts of active programs are to fit:

    sum of c over reasoning + sum of c 2^-t over acting, and 100 tokens a program for growth, <= the pool.

Where they do not, programs are paused by the largest ``1/c + [acting]``: acting ones first, of each kind the
smallest context first, since a context costs its square to compute again. A reasoning program that runs is marked, and
paused when its request ends. Paused programs are restored while they fit, by the largest ``1/c + [reasoning]``: those
with a request first, new programs after those that had begun, then acting ones; the smallest first. New programs begin
as paused ones. The engine below knows nothing of programs: first-come-first-served, and a least-recently-used cache.

Two policies: ``thunderagent`` is the paper's, with the decay both for pausing and for restoring.
``thunderagent-undecayed`` is the authors' code as it comes, where an acting context counts in full until it is paused.

Assumptions: t is counted in the scheduler's intervals of 5 s. The code's option for the decay counts seconds, which
forgets contexts before their tools return and serves it worse in a full pool. A branch of a session counts as a
program. Pausing and restoring happen at every pass; the published scheduler looks every 5 s.

Approximated: requests of paused programs are not kept out of the engine but rank behind those of active ones, and may
take the room that paused programs' caches leave. Where such a request fits, the published test would have restored it;
then it counts as restored. With the decay, a cache in a tool call is protected against paused programs for one
interval, so that time alone brings the next look.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from astraea.policy.fixedpoint import LOG_ONE, exp2, log2
from astraea.policy.ledger import Ledger
from astraea.policy.limits import Limits
from astraea.policy.pressure import LeastRecentlyUsed
from astraea.policy.protocol import Blocking, Cursor
from astraea.policy.ranking import ScanQueue
from astraea.policy.state import Context, Job, Turn
from astraea.policy.tables import TurnState
from astraea.rivals.fcfs import Unlearned
from astraea.units import US_PER_S

__all__ = [
    "GROWTH_TOKENS",
    "INTERVAL_US",
    "ProgramState",
    "Programs",
    "ThunderAgent",
    "ThunderAgentUndecayed",
    "decayed",
]

GROWTH_TOKENS = 100
INTERVAL_US = 5 * US_PER_S
_FOR_EVER_US = 1 << 62


class ProgramState(IntEnum):
    """Whether a program may run."""

    ACTIVE = 0
    MARKED = 1
    """It runs, and is paused when its request ends."""
    PAUSED = 2


def decayed(tokens: int, acting_us: int) -> int:
    """Return ``tokens * 2^-t`` after ``acting_us`` microseconds of acting, rounded down."""
    exponent = log2(max(1, tokens)) - acting_us * LOG_ONE // INTERVAL_US
    return exp2(exponent) if exponent >= 0 else 0


class Programs:
    """The programs of live jobs, one a context."""

    def __init__(self, pool_tokens: int, *, decays: bool) -> None:
        self._pool_tokens = pool_tokens
        self.decays = decays
        """Whether an acting context counts less and less."""
        self._states: dict[Context, ProgramState] = {}
        self._tokens: dict[Context, int] = {}
        """Context in tokens as of the last request."""
        self._entered: dict[Context, tuple[int, int]] = {}
        """By program that may run: the serial of its turn, and its place in the engine's order."""
        self._entries = 0

    def state(self, context: Context) -> ProgramState:
        """Return a program's state; one that is not known is paused."""
        return self._states.get(context, ProgramState.PAUSED)

    def requests(self, turn: Turn) -> None:
        """Know the program of a turn that waits; a new one is paused until it fits."""
        self._tokens[turn.context] = turn.goal_tokens
        if self._states.setdefault(turn.context, ProgramState.PAUSED) is ProgramState.ACTIVE:
            self._activate(turn.context)

    def acts(self, turn: Turn) -> None:
        """Note how long the context is once a request has ended."""
        self._tokens[turn.context] = turn.goal_tokens

    def judge(self, now_us: int) -> None:
        """Restore programs that fit, and pause programs where they do not."""
        self._look_around()
        room = self._pool_tokens - sum(self._cost(program, now_us) for program in self._in(ProgramState.ACTIVE))
        room -= sum(self._cost(program, now_us) for program in self._in(ProgramState.MARKED))
        for program in sorted(self._in(ProgramState.PAUSED), key=self._restored_first):
            need = self._tokens[program] + GROWTH_TOKENS
            if need <= room:
                self._activate(program)
                room -= need
        room += sum(self._cost(program, now_us) for program in self._in(ProgramState.MARKED))
        for program in sorted(self._in(ProgramState.ACTIVE), key=self._paused_first):
            if room >= 0:
                break
            room += self._cost(program, now_us)
            self._states[program] = ProgramState.MARKED if _runs(program) else ProgramState.PAUSED
            self._entered.pop(program, None)

    def _activate(self, program: Context) -> None:
        """Let a program run; its request enters the engine now, unless it is there already."""
        self._states[program] = ProgramState.ACTIVE
        turn = program.turn
        if turn is not None and self._entered.get(program, (0, 0))[0] != turn.serial:
            self._entries += 1
            self._entered[program] = (turn.serial, self._entries)

    def _in(self, state: ProgramState) -> Iterable[Context]:
        return [program for program, its in self._states.items() if its is state]

    def _look_around(self) -> None:
        """Forget programs that ended, restore those that run all the same, and pause marked ones that stopped."""
        for program, state in list(self._states.items()):
            if program.job is None:
                del self._states[program], self._tokens[program]
                self._entered.pop(program, None)
            elif state is ProgramState.PAUSED and _runs(program):
                self._activate(program)
            elif state is ProgramState.MARKED and not _runs(program):
                self._states[program] = ProgramState.PAUSED

    def _cost(self, program: Context, now_us: int) -> int:
        tokens = self._tokens[program]
        if self.decays and program.turn is None:
            tokens = decayed(tokens, now_us - program.waits_since_us)
        return tokens + GROWTH_TOKENS

    def _restored_first(self, program: Context) -> tuple[int, ...]:
        turn = program.turn
        kind = 2 if turn is None else int(turn.index == 0)
        return (kind, self._tokens[program], *_age(program))

    def _paused_first(self, program: Context) -> tuple[int, ...]:
        return (int(program.turn is not None), self._tokens[program], *_age(program))

    def rank(self, turn: Turn) -> tuple[int, ...]:
        """Return the place of a turn that waits: by entry into the engine; of a paused one by who is restored first."""
        if self.state(turn.context) is ProgramState.ACTIVE:
            return (0, self._entered[turn.context][1])
        return (1, *self._restored_first(turn.context), turn.serial)


def _runs(program: Context) -> bool:
    return program.turn is not None and program.turn.state in {TurnState.RUNNING, TurnState.STOPPING}


def _age(program: Context) -> tuple[int, int]:
    """Return what orders programs of equal contexts: their job's arrival, and the arrival of the request."""
    assert program.job is not None
    return program.job.arrival, 0 if program.turn is None else program.turn.serial


class _JudgedQueue(ScanQueue):
    """Judges the programs before every walk."""

    def __init__(self, programs: Programs) -> None:
        super().__init__(self._rank)
        self._programs = programs

    def cursor(self, now_us: int) -> Cursor:
        """Return a walk over those that may run, then those that are paused."""
        self._programs.judge(now_us)
        return super().cursor(now_us)

    def _rank(self, job: Job, size: int, serial: int, now_us: int) -> tuple[int, ...]:
        turn = job.turns.get(serial)
        return (2,) if turn is None else self._programs.rank(turn)


class _EngineCache(LeastRecentlyUsed):
    """A plain prefix cache for the turns of active programs; others take what paused programs left."""

    def __init__(self, limits: Limits, programs: Programs) -> None:
        super().__init__(limits)
        self._programs = programs

    def keep_until_us(self, context: Context, ledger: Ledger, now_us: int) -> int:
        """Return when time alone changes what fits."""
        return now_us + (INTERVAL_US if self._programs.decays else _FOR_EVER_US)

    def may_evict_protected(
        self, turn: Turn, victim: Context | None, ledger: Ledger, now_us: int, *, ranks_before: bool, lossless: bool
    ) -> bool:
        """Say yes to an active program, and for the cache of a paused one."""
        if victim is None or self._programs.state(turn.context) is ProgramState.ACTIVE:
            return True
        return self._programs.state(victim) is ProgramState.PAUSED


class ThunderAgent(Unlearned):
    """Pauses programs whose contexts do not fit together."""

    name = "thunderagent"
    summary = "programs paused and restored so that contexts fit, acting ones decayed, over fcfs (ThunderAgent)"
    source = "arXiv 2602.13692; https://github.com/ThunderAgent-org/ThunderAgent"
    blocking = Blocking.EVERYTHING
    decays = True

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._programs = Programs(limits.device_tokens, decays=self.decays)
        self.queue = _JudgedQueue(self._programs)
        self.memory = _EngineCache(limits, self._programs)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return the context in tokens."""
        self._programs.requests(turn)
        return turn.goal_tokens

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Note the context that the program acts with."""
        self._programs.acts(turn)


class ThunderAgentUndecayed(ThunderAgent):
    """The same with acting contexts counted in full."""

    name = "thunderagent-undecayed"
    summary = "programs paused and restored so that contexts fit, acting ones in full, over fcfs (ThunderAgent's code)"
    source = "https://github.com/ThunderAgent-org/ThunderAgent, its defaults"
    decays = False
