"""The agents of a run: who sends which turn when, and how a turn will end. Only the driver asks.

An agent works through its job's stages. A stage is one turn, or several with the same ``parallel_group``: branch 0 goes
on in the session's main context, the others each in a context of their own. The next stage begins when every branch
has ended and its tool wait is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define

from astraea.events import Hints, Oracle, Outcome, SharedPrefix, TurnArrived, TurnOutcome
from astraea.policy.limits import Limits
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.results import JobResult

__all__ = ["Agent", "LiveTurn", "longest_output", "remaining_service_us", "stages_of"]


@define(slots=True, eq=False)
class LiveTurn:
    """A turn that was sent and has not ended, and what the engine knows of it."""

    agent: Agent
    spec: TurnSpec
    branch: int
    is_last_stage: bool
    position: int = 0
    """KV tokens held."""
    target: int = 0
    """Where the present prefill ends."""
    sampled: int = 0

    @property
    def context_key(self) -> tuple[str, int]:
        """Which context's history the turn continues."""
        return (self.agent.session_id, self.branch)

    def outcome(self, turn_id: str) -> TurnOutcome:
        """Return how the turn ends once all its output is there."""
        if self.is_last_stage or self.branch:
            return TurnOutcome(turn_id, Outcome.FINAL)
        return TurnOutcome(turn_id, Outcome.TOOL_CALL, self.spec.tool or "next")


@define(slots=True, eq=False)
class Agent:
    """One job on its way."""

    spec: JobSpec
    stages: list[tuple[TurnSpec, ...]]
    session_id: str
    max_output_tokens: int
    remaining_us: list[int] = Factory(list)
    """True remaining service at each stage, for policies that are given it."""
    stage: int = 0
    branches_left: int = 0
    stage_ready_us: int = 0
    begun_us: int = 0
    waiting: int = 0
    waiting_since_us: int = 0
    queue_us: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and session."""
        return (self.spec.tenant, self.session_id)

    @property
    def done(self) -> bool:
        """Whether every stage has ended."""
        return self.stage >= len(self.stages)

    def begin_stage(self, now_us: int, limits: Limits, *, clairvoyant: bool) -> list[tuple[TurnArrived, LiveTurn]]:
        """Return the turns of the present stage, as events and as the engine will know them."""
        turns = self.stages[self.stage]
        self.branches_left = len(turns)
        self.stage_ready_us = now_us
        last = self.stage == len(self.stages) - 1
        sent = []
        for branch, spec in enumerate(turns):
            oracle = Oracle(spec.output_tokens, self.remaining_us[self.stage]) if clairvoyant else None
            event = TurnArrived(
                now_us=now_us, tenant=self.spec.tenant, session_id=self.session_id, job_id=self.spec.job_id,
                turn_id=f"{self.spec.job_id}/{self.stage}.{branch}", context_id=f"b{branch}",
                context_tokens=spec.context_tokens,
                reusable_tokens=spec.reusable_tokens if not branch or self.stage == 0 else 0,
                max_output_tokens=max(1, min(self.max_output_tokens, limits.device_tokens - spec.context_tokens)),
                shared_prefix=self._prefix(), hints=Hints(oracle=oracle),
            )  # fmt: skip
            sent.append((event, LiveTurn(self, spec, branch, last)))
        return sent

    def _prefix(self) -> SharedPrefix | None:
        if not self.spec.shared_prefix_id:
            return None
        return SharedPrefix(self.spec.shared_prefix_id, self.spec.shared_prefix_tokens)

    def result(self, now_us: int, alone_us: int) -> JobResult:
        """Return how the job fared, now that it is done."""
        spec = self.spec
        waits_us = sum(turn.tool_wait_us for turn in spec.turns)
        return JobResult(spec.job_id, self.begun_us, now_us, alone_us, waits_us, self.queue_us, len(spec.turns))

    def waits(self, now_us: int, change: int) -> None:
        """Count a turn that began (+1) or ceased (-1) to wait; the time with any adds to ``queue_us``."""
        if self.waiting:
            self.queue_us += now_us - self.waiting_since_us
        self.waiting += change
        self.waiting_since_us = now_us


def stages_of(turns: Sequence[TurnSpec]) -> list[tuple[TurnSpec, ...]]:
    """Return the stages of a job: consecutive turns of one parallel group together, any other turn alone."""
    stages: list[list[TurnSpec]] = []
    for turn in turns:
        group = turn.parallel_group
        if group is not None and stages and stages[-1][-1].parallel_group == group:
            stages[-1].append(turn)
        else:
            stages.append([turn])
    return [tuple(stage) for stage in stages]


def remaining_service_us(stages: Sequence[tuple[TurnSpec, ...]], limits: Limits) -> list[int]:
    """Return, for each stage, the engine time that the job still needs from it on (R of ``prediction.py``, but true).

    Decode and later prompts at the marginal cost of a token, plus memory-time over the pool; what is missing of the
    present prompt is not counted.
    """
    token_ns = limits.costs.prefill_ns_per_token
    decode_ns = token_ns + limits.costs.step_ns
    later_ns = later_token_ns = 0
    remaining = []
    for stage in reversed(stages):
        own_ns = sum(limits.costs.decode_ns(turn.context_tokens, turn.output_tokens) for turn in stage)
        new = sum(turn.new_prompt_tokens for turn in stage)
        own_token_ns = sum(turn.context_tokens * decode_ns * turn.output_tokens for turn in stage)
        memory_ns = (own_token_ns + later_token_ns) // limits.device_tokens
        remaining.append((own_ns + later_ns + memory_ns) // 1000)
        later_ns += token_ns * new + own_ns
        later_token_ns += own_token_ns + sum(t.context_tokens * token_ns * t.new_prompt_tokens for t in stage)
    remaining.reverse()
    return remaining


def longest_output(jobs: Sequence[JobSpec]) -> int:
    """Return the clients' ``max_tokens``: the least power of two that no output of the workload exceeds."""
    longest = max((turn.output_tokens for job in jobs for turn in job.turns), default=1)
    return 1 << (longest - 1).bit_length()
