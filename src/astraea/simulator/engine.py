"""The modelled engine: how far a batch runs, how long it takes, and what it computed on the way.

The engine knows how long each answer will be only as a real one would: when the last token is sampled, the turn ends.
"""

from __future__ import annotations

from attrs import evolve

from astraea.decisions import RunBatch
from astraea.events import TurnOutcome
from astraea.policy.limits import EngineCosts, Limits
from astraea.simulator.agents import LiveTurn
from astraea.simulator.profiles import EngineProfile
from astraea.simulator.step_time import PS_PER_US, StepCost, step_cost

__all__ = ["ModelEngine", "limits_for"]


def limits_for(profile: EngineProfile, host_ratio: float = 0.0, bypass_max: int | None = None) -> Limits:
    """Return the scheduler's limits for an engine; the host pool is ``host_ratio`` times the device pool."""
    blocks = profile.pool_tokens // profile.block_tokens
    costs = EngineCosts(
        step_ns=profile.step_ns,
        prefill_ns_per_token=profile.prefill_ns_per_token,
        read_ps_per_context_token=profile.read_ps_per_context_token,
        attention_ps_per_token_pair=profile.attention_ps_per_token_pair,
        swap_ns_per_token=profile.swap_ns_per_token,
    )
    limits = Limits(
        device_blocks=blocks,
        host_blocks=int(blocks * host_ratio),
        block_tokens=profile.block_tokens,
        step_tokens_max=profile.step_tokens_max,
        batch_turns_max=profile.batch_turns_max,
        costs=costs,
    )
    return limits if bypass_max is None else evolve(limits, bypass_max=bypass_max)


class ModelEngine:
    """One engine on a virtual clock of integer picoseconds, and the link to its host."""

    def __init__(self, profile: EngineProfile, *, one_step: bool) -> None:
        self._profile = profile
        self._one_step = one_step
        self.now_ps = 0
        self._link_free_us = 0
        self._written: dict[tuple[str, int], int] = {}
        """How far the KV of each context was computed and is still a prefix: below it, computing is waste."""
        self.busy_ps = 0
        self.steps = 0
        self.prefill_tokens = 0
        self.recomputed_tokens = 0
        self.swapped_tokens = 0

    @property
    def now_us(self) -> int:
        """The time in microseconds, rounded down."""
        return self.now_ps // PS_PER_US

    def wait_until(self, time_us: int) -> None:
        """Let idle time pass."""
        self.now_ps = max(self.now_ps, time_us * PS_PER_US)

    def copy(self, tokens: int) -> int:
        """Put a copy of so many tokens on the link, first come first served; return when its bytes have arrived."""
        self.swapped_tokens += tokens
        copy_us = -(-tokens * self._profile.swap_ns_per_token // 1000)
        self._link_free_us = max(self._link_free_us, self.now_us) + copy_us
        return self._link_free_us

    def stall_link(self, stall_us: int) -> None:
        """Let nothing pass the link for a while."""
        self._link_free_us = max(self._link_free_us, self.now_us) + stall_us

    def run(self, batch: RunBatch, turns: list[LiveTurn], next_us: int | None) -> tuple[int, list[TurnOutcome]]:
        """Run a batch up to the first turn that ends and the first step that ends at or after ``next_us``.

        Returns the steps that ran and how turns ended in the last one.
        """
        tokens = [chunk.tokens for chunk in batch.chunks]
        cost = step_cost(self._profile, [(t.position, n) for t, n in zip(turns, tokens, strict=True)])
        steps = self._steps(batch, turns, cost, next_us)
        spent_ps = cost.total_ps(steps)
        self.now_ps += spent_ps
        self.busy_ps += spent_ps
        self.steps += steps
        ended = [
            turn.outcome(chunk.turn_id)
            for chunk, turn in zip(batch.chunks, turns, strict=True)
            if self._compute(turn, chunk.tokens * steps)
        ]
        return steps, ended

    def _steps(self, batch: RunBatch, turns: list[LiveTurn], cost: StepCost, next_us: int | None) -> int:
        if self._one_step:
            return 1
        steps = batch.max_steps
        for chunk, turn in zip(batch.chunks, turns, strict=True):
            if turn.position + 1 >= turn.target:
                steps = min(steps, turn.spec.output_tokens - turn.sampled)
            elif turn.spec.output_tokens == 1 and turn.position + chunk.tokens * steps >= turn.target:
                steps = min(steps, (turn.target - turn.position) // chunk.tokens)
        if next_us is not None:
            steps = cost.steps_until(next_us * PS_PER_US - self.now_ps, steps)
        return steps

    def _compute(self, turn: LiveTurn, tokens: int) -> bool:
        """Advance a turn; return whether it has produced all its output."""
        begin, end = turn.position, turn.position + tokens
        turn.position = end
        written = self._written.get(turn.context_key, 0)
        if begin + 1 < turn.target or not turn.sampled:
            filled = min(end, turn.target)
            self.prefill_tokens += filled - begin
            self.recomputed_tokens += max(0, min(written, filled) - begin)
        if end > written:
            self._written[turn.context_key] = end
        if end >= turn.target:
            turn.sampled += end - turn.target + 1
            turn.target = end + 1
        return turn.sampled >= turn.spec.output_tokens

    def edit_history(self, context_key: tuple[str, int], reusable_tokens: int) -> None:
        """Note that only so much of a context is still a prefix of its next prompt."""
        self._written[context_key] = min(self._written.get(context_key, 0), reusable_tokens)

    def forget(self, session_id: str, branches: int) -> None:
        """Forget the contexts of a session that closed."""
        for branch in range(branches):
            self._written.pop((session_id, branch), None)
