"""A scheduler with one slot that is told what arrives and says what it served, and single records for policies."""

from __future__ import annotations

from itertools import count

from astraea import EngineCosts, Limits, Scheduler, Tuning
from astraea.decisions import RunBatch
from astraea.events import BatchDone, Hints, Oracle, Outcome, TurnArrived, TurnOutcome
from astraea.policy.state import Context, Holding, Job, Session, Turn
from astraea.rivals import make_policy

COSTS = EngineCosts(
    step_ns=10_000, prefill_ns_per_token=1_000, read_ps_per_context_token=0, attention_ps_per_token_pair=0,
    swap_ns_per_token=100,
)  # fmt: skip
LIMITS = Limits(
    device_blocks=100, block_tokens=10, costs=COSTS, batch_turns_max=1,
    tuning=Tuning(prior_output_tokens=10, prior_remaining_tokens=10),
)  # fmt: skip


class Told:
    """A scheduler with one slot: what is dispatched after what."""

    def __init__(self, policy, limits=LIMITS):
        self.core = Scheduler(limits, make_policy(policy, limits))
        self.order = []
        self.now_us = 0

    def arrive(self, turn, prompt, *, job=None, reuse=0, output=1, remaining_us=0, wait_us=0):
        self.now_us += wait_us
        job = job or turn
        self.core.handle(
            TurnArrived(
                self.now_us, "acme", job, job, turn, "main", prompt, reuse, 5,
                hints=Hints(oracle=Oracle(output, remaining_us)),
            )
        )  # fmt: skip

    def serve(self, *, tools=()):
        """Run until nothing waits; each turn ends with the first token that it samples."""
        while batches := [d for d in self.core.decide(self.now_us) if isinstance(d, RunBatch)]:
            self.order += [dispatch.turn_id for dispatch in batches[0].dispatched]
            self.now_us += 1
            (turn,) = (chunk.turn_id for chunk in batches[0].chunks)
            how = (Outcome.TOOL_CALL, "grep") if turn in tools else (Outcome.FINAL, None)
            self.core.handle(BatchDone(self.now_us, batches[0].batch_id, 1, (TurnOutcome(turn, *how),)))
        return self.order


def held(tokens, tool="grep"):
    context = Context(Session("acme", "s"), "main", Holding(device_tokens=tokens, device_blocks=tokens // 10))
    context.waits_for = tool
    return context


_serials = count(1)


def waiting(prompt, *, context=None, job=None, new=None, arrival=1, index=0, output=None):
    """Return a turn that waits, of a job and a context of its own unless given."""
    serial = next(_serials)
    context = context or Context(Session("acme", f"s{serial}"), "main")
    job = job or Job("acme", f"j{serial}", arrival, 0, context.session)
    hints = Hints() if output is None else Hints(oracle=Oracle(output, 0))
    turn = Turn(f"t{serial}", serial, job, context, prompt, 50, prompt if new is None else new, hints, index=index)
    job.turns[serial] = context.turn = turn
    context.job = job
    return turn
