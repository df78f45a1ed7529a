"""A small language for conversations with the scheduler: what happens, then what it says.

A script is blocks of commands, a line ``----`` and the expected narration, set apart by blank lines. A line that begins
with ``#`` is a comment. Times are microseconds; a command without ``at=`` happens at the time of the one before. What a
command does is the one sentence of its method in :class:`Conversation`. After every command the claims that a snapshot
shows are checked; and an event that the scheduler refuses must not have changed it (INV-8).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define, fields

from astraea import ContractError, EngineCosts, Limits, Scheduler, Tuning
from astraea.decisions import (
    Because,
    Decision,
    DropCache,
    Hold,
    Preempt,
    Refuse,
    RunBatch,
    SwapIn,
    SwapOut,
    WakeAt,
)
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Event,
    Hints,
    JobCancelled,
    Oracle,
    Outcome,
    SessionClosed,
    SharedPrefix,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)
from astraea.policy.invariants import check_snapshot
from astraea.policy.snapshot import CacheView, JobView, Snapshot, TurnView
from astraea.rivals import make_policy

__all__ = ["Conversation", "rewritten"]

_TUNING = {attribute.name for attribute in fields(Tuning)}
_COSTS = {attribute.name for attribute in fields(EngineCosts)}
_OUTCOMES = {"tool": Outcome.TOOL_CALL, "final": Outcome.FINAL, "length": Outcome.LENGTH, "failed": Outcome.FAILED}


@define(slots=True)
class _Block:
    """Lines before ``----``, as they stand, and how many lines of narration follow."""

    lines: list[str]
    commands: list[str]


def rewritten(path: Path) -> str:
    """Return the script with the narration that the scheduler gives now."""
    conversation = Conversation()
    parts = []
    for block in _blocks(path.read_text(encoding="utf-8")):
        parts.append("\n".join(block.lines))
        if block.commands:
            parts[-1] += "\n----\n" + "\n".join(_answers(conversation, block.commands))
    return "\n\n".join(parts) + "\n"


def _answers(conversation: Conversation, commands: list[str]) -> list[str]:
    """Return what is told to the commands of one block; where several are answered, each under the command itself."""
    answers = [(command, conversation.run(command)) for command in commands]
    answers = [(command, told) for command, told in answers if told]
    if len(answers) == 1:
        return answers[0][1]
    return [line for command, told in answers for line in (f"> {command}", *told)] or ["ok"]


def _blocks(text: str) -> Iterator[_Block]:
    """Yield the blocks of a script; what follows ``----`` is left out, for it is to be told anew."""
    for part in text.strip().split("\n\n"):
        lines = part.strip("\n").split("\n")
        if "----" in lines:
            lines = lines[: lines.index("----")]
        yield _Block(lines, [line for line in lines if not line.startswith("#")])


def _words(line: str) -> tuple[str, list[str], dict[str, str]]:
    name, *rest = shlex.split(line)
    named = dict(word.split("=", 1) for word in rest if "=" in word)
    return name, [word for word in rest if "=" not in word], named


class Conversation:
    """One scheduler and what was said to it."""

    def __init__(self) -> None:
        self._core: Scheduler | None = None
        self._now_us = 0
        self._owed: RunBatch | None = None
        self._chunks: object = None

    @property
    def core(self) -> Scheduler:
        """The scheduler; a script begins with its limits."""
        assert self._core is not None, "a script begins with the command 'limits'"
        return self._core

    def run(self, line: str) -> list[str]:
        """Carry one command out and return what is told."""
        name, words, named = _words(line)
        self._now_us = int(named.pop("at", self._now_us))
        command: Callable[..., list[str]] = getattr(self, "do_" + name.replace("-", "_"))
        try:
            told = command(*words, **named)
        except ContractError as error:
            told = [f"refused: {error}"]
        check_snapshot(self.core.snapshot(), self.core.limits, guarded=self.core.policy.guarded)
        return told

    # Commands

    def do_limits(self, policy: str = "astraea", **named: str) -> list[str]:
        """Make a scheduler; fields of ``Limits``, ``EngineCosts`` and ``Tuning`` by name."""
        numbers = {name: int(value) for name, value in named.items()}
        tuning = {name: numbers.pop(name) for name in list(numbers) if name in _TUNING}
        costs = {name: numbers.pop(name) for name in list(numbers) if name in _COSTS}
        limits = Limits(**numbers, tuning=Tuning(**tuning), costs=EngineCosts(**costs))
        self._core = Scheduler(limits, make_policy(policy, limits))
        return []

    def do_arrive(self, turn: str, session: str, prompt: str, **named: str) -> list[str]:
        """Tell of a turn: ``max=``, ``reuse=``, ``job=``, ``context=``, ``tenant=``, ``prefix=id:tokens``, hints."""
        prefix_id, _, prefix_tokens = named.get("prefix", "").partition(":")
        output, _, remaining = named.get("oracle", "").partition(":")
        hints = Hints(parent_job_id=named.get("parent"), oracle=Oracle(int(output), int(remaining)) if output else None)
        return self._handle(
            TurnArrived(
                now_us=self._now_us, tenant=named.get("tenant", "acme"), session_id=session,
                job_id=named.get("job", session), turn_id=turn, context_id=named.get("context", "main"),
                context_tokens=int(prompt), reusable_tokens=int(named.get("reuse", 0)),
                max_output_tokens=int(named.get("max", 8)),
                shared_prefix=SharedPrefix(prefix_id, int(prefix_tokens)) if prefix_id else None, hints=hints,
            )
        )  # fmt: skip

    def do_cancel(self, turn: str) -> list[str]:
        """Cancel a turn."""
        return self._handle(TurnCancelled(self._now_us, turn))

    def do_cancel_job(self, job: str, tenant: str = "acme") -> list[str]:
        """Cancel a job."""
        return self._handle(JobCancelled(self._now_us, tenant, job))

    def do_tool(self, session: str, context: str = "main", tenant: str = "acme") -> list[str]:
        """Tell that the tool of a context returned."""
        return self._handle(ToolReturned(self._now_us, tenant, session, context))

    def do_close(self, session: str, tenant: str = "acme") -> list[str]:
        """Close a session."""
        return self._handle(SessionClosed(self._now_us, tenant, session))

    def do_drain(self) -> list[str]:
        """Admit nothing more."""
        return self._handle(Drain(self._now_us))

    def do_done(self, batch: str = "", steps: str = "", **ended: str) -> list[str]:
        """Report the owed batch, all its steps by default; ``t1=tool:grep``, ``t2=final`` say which turns ended."""
        owed = self._owed
        batch_id = int(batch) if batch else owed.batch_id if owed is not None else 0
        ran = int(steps) if steps else owed.max_steps if owed is not None else 0
        outcomes = []
        for turn, how in ended.items():
            word, _, tool = how.partition(":")
            outcomes.append(TurnOutcome(turn, _OUTCOMES[word], tool or None))
        return self._handle(BatchDone(self._now_us, batch_id, ran, tuple(outcomes)))

    def do_batch_overdue(self, batch: str = "") -> list[str]:
        """Tell that the owed batch was not reported in time."""
        batch_id = int(batch) if batch else self._owed.batch_id if self._owed is not None else 0
        return self._handle(BatchOverdue(self._now_us, batch_id))

    def do_swap_done(self, *failed: str, op: str = "") -> list[str]:
        """Report a copy, the oldest one by default; ``swap-done failed`` says that it failed."""
        return self._handle(SwapDone(self._now_us, self._op(op), bool(failed)))

    def do_swap_overdue(self, op: str = "") -> list[str]:
        """Tell that a copy was not reported in time, the oldest one by default."""
        return self._handle(SwapOverdue(self._now_us, self._op(op)))

    def do_decide(self) -> list[str]:
        """Ask what is owed now."""
        told = []
        for decision in self.core.decide(self._now_us):
            told.extend(self._narrate(decision))
        return told or ["nothing"]

    def do_show(self) -> list[str]:
        """Show what is live."""
        return list(_shown(self.core.snapshot()))

    # Telling

    def _op(self, op: str) -> int:
        owed = self.core.snapshot().copies_owed
        return int(op) if op else owed[0] if owed else 0

    def _handle(self, event: Event) -> list[str]:
        before = self.core.snapshot()
        try:
            self.core.handle(event)
        except ContractError:
            assert self.core.snapshot() == before, "INV-8: a refused event changed the scheduler"
            raise
        owed = self._owed
        if isinstance(event, BatchDone | BatchOverdue) and owed is not None and owed.batch_id == event.batch_id:
            self._owed = None
        return []

    def _narrate(self, decision: Decision) -> Iterator[str]:
        because = _because(decision.because)
        if isinstance(decision, RunBatch):
            chunks = "the same chunks"
            if decision.chunks is not self._chunks:
                chunks = ", ".join(f"{chunk.turn_id} x{chunk.tokens}" for chunk in decision.chunks)
            self._owed, self._chunks = decision, decision.chunks
            for dispatch in decision.dispatched:
                yield f"dispatch {dispatch.turn_id} from token {dispatch.start_tokens}: {_because(dispatch.because)}"
            yield f"run batch {decision.batch_id} for up to {decision.max_steps} steps, {chunks}: {because}"
        elif isinstance(decision, SwapOut):
            span = f"tokens {decision.from_tokens} to {decision.to_tokens}, keep {decision.keep_tokens} here"
            yield f"swap out {_where(decision)} as copy {decision.op_id}, {span}: {because}"
        elif isinstance(decision, SwapIn):
            span = f"tokens {decision.from_tokens} to {decision.to_tokens}"
            yield f"swap in {_where(decision)} as copy {decision.op_id} for {decision.turn_id}, {span}: {because}"
        elif isinstance(decision, DropCache):
            what = f"prefix {decision.prefix_id}" if decision.prefix_id else _where(decision)
            side = "on the host" if decision.on_host else "on the device"
            span = f"keep {decision.keep_tokens} tokens, free {decision.kv_blocks} blocks"
            yield f"drop {what} {side}, {span}: {because}"
        elif isinstance(decision, Preempt):
            yield f"preempt {decision.turn_id}: {because}"
        elif isinstance(decision, Refuse):
            again = "no use to retry" if decision.retry_after_us is None else f"retry after {decision.retry_after_us}"
            yield f"refuse {decision.turn_id}, {again}: {because}"
        elif isinstance(decision, Hold):
            yield f"hold {decision.turn_id}: {because}"
        elif isinstance(decision, WakeAt):
            yield f"wake at {decision.at_us}: {because}"


def _because(because: Because) -> str:
    numbers = ", ".join(f"{name}={value}" for name, value in because.numbers)
    return f"{because.reason} ({numbers})" if numbers else str(because.reason)


def _where(decision: SwapOut | SwapIn | DropCache) -> str:
    tenant = "" if decision.tenant == "acme" else f"{decision.tenant}:"
    return f"{tenant}{decision.session_id}/{decision.context_id}"


def _shown(view: Snapshot) -> Iterator[str]:
    quarantined = f", {view.device_quarantined} quarantined" if view.device_quarantined else ""
    host = f"; host {view.host_free} of {view.host_blocks}" if view.host_blocks else ""
    yield f"free: device {view.device_free} of {view.device_blocks} blocks{quarantined}{host}"
    owed = [f"batch {view.batch_owed}"] if view.batch_owed is not None else []
    owed += [f"copy {op}" for op in view.copies_owed]
    owed += [f"overdue batch {batch}" for batch in view.batches_overdue]
    if owed:
        yield "owed: " + ", ".join(owed)
    if view.open_turn is not None:
        yield f"open turn: {view.open_turn}"
    for job in view.jobs:
        yield from _job(job)
    for turn in view.turns:
        yield _turn(turn)
    for cache in view.caches:
        yield from _cache(cache)
    for prefix in view.prefixes:
        held = f"{prefix.ready_tokens} of {prefix.tokens} tokens in {prefix.device_blocks} blocks"
        replaced = ", frozen" if prefix.replaced else ""
        yield f"prefix {prefix.prefix_id}: {held}, {prefix.holders} holders, {prefix.dependents} behind it{replaced}"


def _job(job: JobView) -> Iterator[str]:
    said = [f"bypassed {job.bypasses} times"] if job.bypasses else []
    said += ["promoted"] if job.promoted else []
    said += [f"{job.tool_waits} tool waits"] if job.tool_waits else []
    if said:
        yield f"job {job.job_id}: {', '.join(said)}"


def _turn(turn: TurnView) -> str:
    said = f"turn {turn.turn_id}: {turn.state}, {turn.prompt_tokens}+{turn.sampled_tokens} of {turn.max_tokens} tokens"
    return said + (f", preempted {turn.preemptions} times" if turn.preemptions else "")


def _cache(cache: CacheView) -> Iterator[str]:
    tenant = f"{cache.tenant}:" if cache.tenant not in {"acme", ""} else ""
    where = f"{tenant}{cache.session_id}/{cache.context_id}" if cache.context_id else "of nobody"
    said = [f"{cache.device_tokens} tokens in {cache.device_blocks} blocks"] if cache.device_blocks else []
    said += [f"host {cache.host_tokens} tokens in {cache.host_blocks} blocks"] if cache.host_blocks else []
    said += [f"waits for {cache.waits_for}, kept until {cache.keep_until_us}"] if cache.waits_for else []
    yield f"cache {where}: {', '.join([cache.state, *said])}"
