"""Clients that leave: who cancels a turn or a job, or closes a session, and when that is worst."""

from __future__ import annotations

from astraea.decisions import SwapIn, SwapOut
from astraea.events import JobCancelled, TurnCancelled
from astraea.policy.snapshot import JobView
from astraea.policy.tables import TurnState
from astraea.simulator.torture.clients import Clients

__all__ = ["Departures"]


class Departures(Clients):
    """Clients some of which are made to leave."""

    def _cancel_any_turn(self, pick: int, now_us: int) -> None:
        live = self._live_turns()
        if live:
            self._cancel_turn(live[pick % len(live)], now_us)

    def _live_turns(self) -> list[str]:
        """Return the turns that clients and scheduler agree to be live."""
        turns = self._core.snapshot().turns
        return [turn.turn_id for turn in turns if turn.state is not TurnState.STOPPING and turn.turn_id in self._turns]

    def _cancel_turn(self, turn_id: str, now_us: int) -> None:
        self._handle(TurnCancelled(now_us, turn_id))
        self._withdrawn(turn_id, now_us)

    def _cancel_any_job(self, pick: int, now_us: int) -> None:
        jobs = self._core.snapshot().jobs
        if jobs:
            self._cancel_job(jobs[pick % len(jobs)], pick, now_us)

    def _cancel_job(self, job: JobView, pick: int, now_us: int) -> None:
        self._handle(JobCancelled(now_us, job.tenant, job.job_id))
        agent = self._at_work.get(job.job_id)
        if agent is not None:
            for turn_id in self._live_turns():  # those that work for another job
                if self._turns[turn_id].agent is agent:
                    self._handle(TurnCancelled(now_us, turn_id))
            self._leaves(agent, now_us, closes=pick % 3 == 0)
        self._vanished(self._withdrawn, now_us)

    def _close_any(self, pick: int, now_us: int) -> None:
        view = self._core.snapshot()
        keys = sorted({(cache.tenant, cache.session_id) for cache in view.caches if cache.context_id})
        if not keys:
            return
        self._leave_session(keys[pick % len(keys)], now_us)

    def _leave_session(self, key: tuple[str, str], now_us: int) -> None:
        agent = self._in_session.get(key)
        if agent is not None and self._works(agent):
            self._leaves(agent, now_us, closes=True)
        else:
            self._close(key, now_us)

    def _leave_copied(self, copy: SwapOut | SwapIn, pick: int, now_us: int) -> None:
        """Let the client of a context leave while it is being copied."""
        key = copy.tenant, copy.session_id
        agent = self._in_session.get(key)
        jobs = [job for job in self._core.snapshot().jobs if agent is not None and job.job_id == agent.spec.job_id]
        if isinstance(copy, SwapIn) and pick % 3 == 0 and copy.turn_id in self._live_turns():
            self._cancel_turn(copy.turn_id, now_us)
        elif jobs and pick % 3 == 1:
            self._cancel_job(jobs[0], pick // 3, now_us)
        else:
            self._leave_session(key, now_us)
