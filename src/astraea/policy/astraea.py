"""Astraea's own policy, and what every policy that learns has in common.

The order is the response ratio of the *job*, ``(W + w0)^(1/8) / S``; the memory rules are :class:`KeepByReuse`. The
size S is the engine time that the turn and the rest of its job take: the prefill of what is missing, the memory that
it occupies meanwhile as a share of the pool, and the predicted remaining service R, less three quarters where its cache
is resident, for a resident cache that runs is memory that comes free sooner.
"""

from __future__ import annotations

from astraea.policy.classification import classify, next_level
from astraea.policy.limits import Limits
from astraea.policy.prediction import Predictor
from astraea.policy.pressure import KeepByReuse
from astraea.policy.protocol import Blocking, Memory, ReadyQueue
from astraea.policy.ranking import RatioClassQueue
from astraea.policy.state import Context, Job, Turn, TurnRecord

__all__ = ["LearningPolicy", "service_us", "size_us"]


def size_us(limits: Limits, turn: Turn, resident_tokens: int, host_tokens: int, remaining_us: int) -> int:
    """Return S of ``docs/design.md`` section 7 in microseconds, at least 1."""
    costs, goal = limits.costs, turn.goal_tokens
    held = max(resident_tokens, min(host_tokens, goal - 1))
    prefill_ns = costs.prefill_ns(held, max(1, goal - held))
    memory_ns = goal * (prefill_ns + costs.swap_ns_per_token * (held - resident_tokens)) // limits.device_tokens
    whole_us = (prefill_ns + memory_ns) // 1000 + remaining_us
    return max(1, whole_us - whole_us * limits.tuning.resume_permille * resident_tokens // (1000 * goal))


def service_us(limits: Limits, turn: Turn) -> int:
    """Return the engine time that an ended turn took: new prompt, decode, and their memory-time over the pool."""
    costs, tokens = limits.costs, turn.prompt_tokens
    prefill_ns = costs.prefill_ns_per_token * turn.new_tokens
    step_ns = (costs.prefill_ns_per_token + costs.step_ns) * turn.sampled
    own_ns = prefill_ns + costs.decode_ns(tokens, turn.sampled)
    return (own_ns + tokens * (prefill_ns + step_ns) // limits.device_tokens) // 1000


class LearningPolicy:
    """A policy that classifies jobs and predicts from completed work; orders and memory rules are given to it."""

    name = "astraea"
    summary = "job response ratio over predicted remaining service, caches kept by expected reuse, bounded bypass"
    source = "docs/design.md section 7; after the Astraea paper, arXiv 2512.14142"
    guarded = True
    clairvoyant = False
    blocking = Blocking.STARTS

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.predictor = Predictor(limits)
        self.queue: ReadyQueue = RatioClassQueue(limits.tuning.exponent_inverse, max(1, limits.costs.step_ns // 1000))
        self.memory: Memory = KeepByReuse(limits, self.predictor)

    def size(self, turn: Turn, resident_tokens: int, host_tokens: int, now_us: int) -> int:
        """Return S in microseconds."""
        job = turn.job
        remaining = self.predictor.remaining_us(
            turn.index, classify(job.level), job.attained_us, turn.prompt_tokens, turn.context.last_tool
        )
        return size_us(self.limits, turn, resident_tokens, host_tokens, remaining)

    def turn_ended(self, turn: Turn, tool: str, *, to_tool: bool) -> None:
        """Learn output and growth, keep the record, and move the job in the stateful MLFQ."""
        job = turn.job
        compute_class = classify(job.level)
        tokens = turn.new_tokens + turn.sampled
        self.predictor.learn_turn(compute_class, tool, turn.sampled, tokens if turn.index else 0)
        job.records.append(
            TurnRecord(
                turn.index, compute_class, turn.prompt_tokens, turn.new_tokens, turn.sampled, job.attained_us, tool
            )
        )
        job.attained_us += service_us(self.limits, turn)
        job.level = next_level(job.level, tokens, yielded_to_tool=to_tool)

    def tool_returned(self, context: Context, wait_us: int) -> None:
        """Learn a tool's wait."""
        self.predictor.learn_wait(context.waits_for, wait_us)

    def steps_done(self, steps: int) -> None:
        """Learn nothing: no estimate counts steps."""

    def job_ended(self, job: Job) -> None:
        """Learn what was left at each of the job's turns."""
        self.predictor.learn_job(job.records)
