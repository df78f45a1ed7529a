"""Agents that meet refusals, failures and cancellations, and do what clients do: try again, go on, or give up.

A session's jobs come one after another. A turn that failed or was refused is sent again a few times. A client that is
cancelled, or gives up, closes its session or leaves it open. What the scheduler still has in a batch is left alone
until the batch is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve

from astraea.decisions import Refuse
from astraea.events import Outcome, SessionClosed, TurnArrived, TurnOutcome
from astraea.policy.tables import TurnState
from astraea.simulator.agents import Agent, LiveTurn
from astraea.simulator.driver import Simulation
from astraea.simulator.torture.witness import Witness

__all__ = ["Clients"]

_TRIES = 3
_TRIES_HEALED = 20
_RETRY_US = 1_000
_BACKOFF_MAX = 6
"""A wait doubles so often."""


class Clients(Simulation):
    """A simulation whose agents survive what a :class:`Simulation` does not expect."""

    witness: Witness
    _slack: int
    """Clients ask for this many times the output that will come; 0: for much more."""

    def _begin_clients(self) -> None:
        self._at_work: dict[str, Agent] = {}
        """Agents that have begun and not come to their end, by job."""
        self._in_session: dict[tuple[str, str], Agent] = {}
        self._next_in_session: dict[tuple[str, str], deque[Agent]] = {}
        self._sent: dict[str, tuple[TurnArrived, int]] = {}
        """Each live turn's arrival and which try it is."""
        self._known: dict[tuple[str, str, str], int] = {}
        """How many tokens of a context's history its client knows."""
        self._tool_told: set[tuple[str, str]] = set()
        """Sessions whose present tool was told to have returned: a refused turn leaves the wait as it was."""
        self._refusals: list[Refuse] = []
        self._after_batch: list[Callable[[int], None]] = []
        self._door_opens_us = 0
        """Until then no job begins."""
        self._healing = False

    # Beginnings

    def _starts(self, agent: Agent) -> Callable[[int], None]:
        def start(now_us: int) -> None:
            if self._healing:
                return
            if now_us < self._door_opens_us:
                self._at(self._door_opens_us, start)
            elif agent.key in self._in_session:
                self._next_in_session.setdefault(agent.key, deque()).append(agent)
            else:
                self._in_session[agent.key] = self._at_work[agent.spec.job_id] = agent
                self._send_stage(agent, now_us)

        return start

    def _send_stage(self, agent: Agent, now_us: int) -> None:
        if not self._works(agent):
            return
        for event, turn in agent.begin_stage(now_us, self._limits, clairvoyant=self._policy.clairvoyant):
            if self._works(agent):  # an eager decide may have refused its first branch for good
                self._send(event, turn, 0)

    def _works(self, agent: Agent) -> bool:
        return self._at_work.get(agent.spec.job_id) is agent

    def _send(self, event: TurnArrived, turn: LiveTurn, tries: int) -> None:
        """Send a turn; its prompt begins with no more of the history than its client knows."""
        reusable = min(event.reusable_tokens, self._known.get(_context_of(event), event.reusable_tokens))
        most = turn.spec.output_tokens * self._slack or event.max_output_tokens
        most = min(most, event.max_output_tokens)
        event = self._bent(evolve(event, reusable_tokens=reusable, max_output_tokens=most))
        self._turns[event.turn_id] = turn
        self._sent[event.turn_id] = event, tries
        self._engine.edit_history(turn.context_key, event.reusable_tokens)
        self._handle(event)

    def _bent(self, event: TurnArrived) -> TurnArrived:
        """Return the arrival as a fault makes it."""
        return event

    def _send_again(self, turn_id: str, wait_us: int, now_us: int) -> None:
        """Send a turn that is no longer live a second time, unless it was tried often enough."""
        turn, (event, tries) = self._turns.pop(turn_id), self._sent.pop(turn_id)
        if tries >= (_TRIES_HEALED if self._healing else _TRIES):
            self._gives_up(turn.agent, now_us)
            return
        self.witness.probes["turn sent again"] += 1
        again = LiveTurn(turn.agent, turn.spec, turn.branch, turn.is_last_stage)
        name = f"{event.turn_id.split('~')[0]}~{tries + 1}"

        def send(time_us: int) -> None:
            if self._works(turn.agent):
                self._send(evolve(event, turn_id=name, now_us=time_us), again, tries + 1)

        self._at(now_us + (wait_us << min(tries, _BACKOFF_MAX)), send)

    # Ends of turns

    def _refused(self, refusal: Refuse, now_us: int) -> None:
        self._refusals.append(refusal)

    def _hear_refusals(self, now_us: int) -> None:
        """Let clients react to refusals, once all that was decided with them is under way."""
        refusals, self._refusals = self._refusals, []
        for refusal in refusals:
            turn = self._turns.get(refusal.turn_id)
            if turn is None:
                continue
            if refusal.retry_after_us is None:
                self._gives_up(turn.agent, now_us)
            else:
                self._send_again(refusal.turn_id, refusal.retry_after_us, now_us)

    def _failed(self, turn_id: str, now_us: int) -> None:
        """Send a turn again that the engine failed or lost."""
        event, _ = self._sent[turn_id]
        self._known[_context_of(event)] = event.context_tokens
        self._send_again(turn_id, _RETRY_US, now_us)

    def _withdrawn(self, turn_id: str, now_us: int) -> None:
        """Go on without a turn that was cancelled, once no batch computes it."""
        turn, (event, _) = self._turns.pop(turn_id), self._sent.pop(turn_id)
        self._known[_context_of(event)] = event.context_tokens
        if self._batch is None:
            self._turn_ended(turn, now_us)
        else:
            self._after_batch.append(lambda time_us: self._turn_ended(turn, time_us))

    def _vanished(self, react: Callable[[str, int], None], now_us: int) -> None:
        """Let clients react whose turns are no longer live in the scheduler."""
        live = {turn.turn_id for turn in self._core.snapshot().turns if turn.state is not TurnState.STOPPING}
        for turn_id in [turn_id for turn_id in self._turns if turn_id not in live]:
            if turn_id in self._turns:  # one client's reaction may end another's turns
                react(turn_id, now_us)

    def _settle(self, ended: Sequence[TurnOutcome], now_us: int) -> None:
        """Let clients react to what a batch's report said of their turns."""
        for outcome in ended:
            turn = self._turns.get(outcome.turn_id)
            if turn is None:
                continue
            if outcome.outcome is Outcome.FAILED:
                self._failed(outcome.turn_id, now_us)
                continue
            if outcome.outcome is Outcome.TOOL_CALL:
                self._tool_told.discard(turn.agent.key)
            event, _ = self._sent.pop(outcome.turn_id)
            del self._turns[outcome.turn_id]
            self._known[_context_of(event)] = event.context_tokens + turn.spec.output_tokens
            self._turn_ended(turn, now_us)
        waiting, self._after_batch = self._after_batch, []
        for action in waiting:
            action(now_us)

    def _turn_ended(self, turn: LiveTurn, now_us: int) -> None:
        if self._works(turn.agent):
            super()._turn_ended(turn, now_us)

    # Ends of jobs and sessions

    def _job_ended(self, agent: Agent, now_us: int) -> None:
        self.witness.probes["job done"] += 1
        self._leaves(agent, now_us, closes=self._jobs_left[agent.key] == 1)

    def _gives_up(self, agent: Agent, now_us: int) -> None:
        self.witness.probes["job given up"] += 1
        self._leaves(agent, now_us, closes=True)

    def _leaves(self, agent: Agent, now_us: int, *, closes: bool) -> None:
        """Forget an agent and its turns; the next job of its session may begin."""
        del self._at_work[agent.spec.job_id]
        self._jobs_left[agent.key] -= 1
        for turn_id in [turn_id for turn_id, turn in self._turns.items() if turn.agent is agent]:
            del self._turns[turn_id], self._sent[turn_id]
        if closes:
            self._close(agent.key, now_us)
        if closes or self._batch is None:
            self._next_job(agent.key, now_us)
        else:
            self._after_batch.append(partial(self._next_job, agent.key))

    def _next_job(self, key: tuple[str, str], now_us: int) -> None:
        """Let the next job of a session begin."""
        del self._in_session[key]
        waiting = self._next_in_session.get(key)
        if waiting:
            self._at(now_us, self._starts(waiting.popleft()))

    def _close(self, key: tuple[str, str], now_us: int) -> None:
        """Close a session, if the scheduler has it."""
        if key not in {(c.tenant, c.session_id) for c in self._core.snapshot().caches if c.context_id}:
            return
        self._handle(SessionClosed(now_us, *key))
        self._tool_told.discard(key)
        for context in [context for context in self._known if context[:2] == key]:
            del self._known[context]
        self._vanished(self._withdrawn, now_us)


def _context_of(event: TurnArrived) -> tuple[str, str, str]:
    return event.tenant, event.session_id, event.context_id
