"""A slow, obvious twin of the scheduler's bookkeeping: recounted from events and decisions alone, nothing cached.

It is also an executor on paper. A prompt is a list of numbers, and every KV position remembers which number it was
computed from; so a turn that is dispatched on KV of another history, of another context or of a copy that never
arrived is seen at once (INV-3), not only when counts disagree.
"""

from __future__ import annotations

from itertools import count

from attrs import Factory, define

from astraea.decisions import (
    Decision,
    Dispatch,
    DropCache,
    Hold,
    Preempt,
    Reason,
    Refuse,
    RunBatch,
    SwapIn,
    SwapOut,
    WakeAt,
)
from astraea.errors import InvariantError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
    Event,
    JobCancelled,
    Outcome,
    SessionClosed,
    SwapDone,
    SwapOverdue,
    ToolReturned,
    TurnArrived,
    TurnCancelled,
)
from astraea.policy.limits import Limits
from astraea.policy.snapshot import Snapshot


def require(holds, claim, sentence):
    if not holds:
        raise InvariantError(claim, sentence)


@define(eq=False)
class Prefix:
    tenant: str
    prefix_id: str
    blocks: int
    content: list = Factory(list)
    """Numbers of the tokens that are ready."""
    held_blocks: int = 0
    holders: int = 0
    filler: object = None
    replaced: bool = False


@define(eq=False)
class Holding:
    name: tuple
    prefix: Prefix | None = None
    content: list = Factory(list)
    """Numbers of the tokens on the device, those of the shared prefix included; empty where none is private."""
    blocks: int = 0
    host: list = Factory(list)
    host_blocks: int = 0
    copy: object = None
    frozen: bool = False
    closed: bool = False
    leaves_prefix: bool = False


@define(eq=False)
class Context:
    name: tuple
    holding: Holding
    history: list = Factory(list)
    """What the client knows: the last admitted prompt and what was sampled after it."""
    turn: Turn | None = None
    job: Job | None = None
    waits: bool = False
    """For a tool, or for the turn that takes its result up."""
    returned: bool = False


@define(eq=False)
class Job:
    tenant: str
    job_id: str
    arrival: int
    session: tuple
    turns: dict = Factory(dict)
    bypasses: int = 0
    over: bool = False
    """Some branch ended without calling a tool."""

    @property
    def waits(self):
        return any(turn.waits for turn in self.turns.values())


@define(eq=False)
class Turn:
    turn_id: str
    job: Job
    context: Context
    prompt: int
    max_output: int
    tokens: list
    """Numbers of all known tokens: prompt and sampled ones."""
    state: str = "waiting"
    sampled: int = 0
    done: int = 0
    """Tokens whose KV stands on the device while it runs."""
    reserved: int = 0
    preemptions: int = 0
    fills: bool = False
    """It was filling its shared prefix when the present batch began."""

    @property
    def waits(self):
        return self.state in {"waiting", "returning"}

    @property
    def goal(self):
        return self.prompt + self.sampled

    @property
    def most(self):
        return self.prompt + self.max_output


class Model:
    """What a driver can know of one scheduler."""

    def __init__(self, limits: Limits, *, guarded: bool) -> None:
        self.limits = limits
        self.guarded = guarded
        self.sessions: dict[tuple, dict[str, Context]] = {}
        self.jobs: dict[tuple, Job] = {}
        self.turns: dict[str, Turn] = {}
        self.ends: dict[str, list[str]] = {}
        """How each admitted turn ended; more than one entry breaks INV-4."""
        self.to_refuse: list[str] = []
        self.holdings: list[Holding] = []
        self.prefixes: list[Prefix] = []
        self.batch: RunBatch | None = None
        self.members: dict[str, Turn] = {}
        self.lost_batches: dict[int, list[tuple[Holding, Turn]]] = {}
        self.copies: dict[int, tuple] = {}
        self.running: dict[str, Turn] = {}
        self.worst_bypass = 0
        self.steps = 0
        self._arrivals = count(1)
        self._numbers = count(1)

    # Recounts

    @property
    def device_free(self):
        return (
            self.limits.device_blocks - sum(h.blocks for h in self.holdings) - sum(p.held_blocks for p in self.prefixes)
        )

    @property
    def host_free(self):
        return self.limits.host_blocks - sum(h.host_blocks for h in self.holdings)

    def private(self, holding, tokens):
        shared = holding.prefix.blocks if holding.prefix else 0
        return max(0, self.limits.blocks_for(tokens) - shared)

    def shared_tokens(self, holding):
        return holding.prefix.blocks * self.limits.block_tokens if holding.prefix else 0

    def on_device(self, holding):
        """Numbers of the tokens that a turn of this holding may go on from."""
        shared = self.shared_tokens(holding)
        if not holding.prefix:
            return holding.content
        if holding.content:
            return holding.prefix.content + holding.content[shared:]
        return holding.prefix.content

    def copies_owed(self):
        return [op_id for op_id, (holding, *_) in self.copies.items() if not holding.frozen]

    # Events

    def happened(self, event: Event, *, admitted: bool = True, numbers: list | None = None) -> None:
        handler = {
            TurnArrived: self._arrived, TurnCancelled: self._turn_cancelled, JobCancelled: self._job_cancelled,
            BatchDone: self._batch_done, BatchOverdue: self._batch_overdue, ToolReturned: self._tool_returned,
            SwapDone: self._swap_done, SwapOverdue: self._swap_overdue, SessionClosed: self._session_closed,
            Drain: lambda event: None,
        }[type(event)]  # fmt: skip
        if type(event) is TurnArrived:
            self._arrived(event, admitted, numbers)
        else:
            handler(event)
        self._forget()

    def _forget(self):
        """Forget what holds nothing and belongs to nobody."""
        self.holdings = [h for h in self.holdings if h.blocks or h.host_blocks or not self._forgettable(h)]
        self.prefixes = [p for p in self.prefixes if p.held_blocks or p.holders or self._named(p)]

    def _forgettable(self, holding):
        tenant, session, context = holding.name
        known = self.sessions.get((tenant, session), {}).get(context)
        return (known is None or known.holding is not holding) and holding.copy is None and not holding.frozen

    def prompt_for(self, event_session, context_id, reusable, new):
        """Return the numbers of a prompt that keeps ``reusable`` tokens of the history and adds ``new``."""
        context = self.sessions.get(event_session, {}).get(context_id)
        history = context.history if context else []
        return history[:reusable] + [next(self._numbers) for _ in range(new)]

    def _arrived(self, event, admitted, numbers):
        if not admitted:
            self.to_refuse.append(event.turn_id)
            return
        key = event.tenant, event.session_id
        contexts = self.sessions.setdefault(key, {})
        context = contexts.get(event.context_id)
        if context is None:
            holding = Holding((*key, event.context_id))
            self.holdings.append(holding)
            context = contexts[event.context_id] = Context((*key, event.context_id), holding)
        self._bind_prefix(context, event)
        self._end_wait(context)
        job = self._job_of(event, key)
        turn = Turn(event.turn_id, job, context, event.context_tokens, event.max_output_tokens, list(numbers))
        context.turn, context.job, context.history = turn, job, list(numbers)
        job.turns[turn.turn_id] = self.turns[turn.turn_id] = turn
        self.ends[turn.turn_id] = []

    def _bind_prefix(self, context, event):
        shared, prefix = event.shared_prefix, context.holding.prefix
        if not context.history and shared is not None:
            blocks = min(shared.tokens, event.context_tokens - 1) // self.limits.block_tokens
            prefix = self._prefix(event.tenant, shared.prefix_id, blocks) if blocks else None
            context.holding.prefix = prefix if prefix and prefix.blocks <= blocks else None
        elif prefix is not None:
            begins = event.reusable_tokens
            if shared is not None and shared.prefix_id == prefix.prefix_id:
                begins = max(begins, shared.tokens)
            if min(begins, event.context_tokens - 1) < self.shared_tokens(context.holding):
                self._leave_prefix(context.holding)

    def _leave_prefix(self, holding):
        """The prompt no longer begins with the shared prefix; a copy that is under way still needs it."""
        holding.leaves_prefix = True
        if holding.copy is None:
            holding.content = []
            holding.prefix = None
            holding.leaves_prefix = False

    def _prefix(self, tenant, prefix_id, blocks):
        for prefix in self.prefixes:
            if (prefix.tenant, prefix.prefix_id) == (tenant, prefix_id) and not prefix.replaced:
                return prefix
        prefix = Prefix(tenant, prefix_id, blocks)
        self.prefixes.append(prefix)
        return prefix

    def _job_of(self, event, session):
        parent = event.hints.parent_job_id
        if parent is not None and (event.tenant, parent) in self.jobs:
            return self.jobs[event.tenant, parent]
        context = self.sessions[session][event.context_id]
        if context.job is not None:
            return context.job
        for job in self.jobs.values():
            if job.session == session:
                return job
        job = Job(event.tenant, event.job_id, next(self._arrivals), session)
        self.jobs[event.tenant, event.job_id] = job
        return job

    def _tool_returned(self, event):
        self.sessions[event.tenant, event.session_id][event.context_id].returned = True

    @staticmethod
    def _end_wait(context):
        context.waits = context.returned = False

    def _tool_waits(self, job):
        return sum(c.waits and c.job is job for contexts in self.sessions.values() for c in contexts.values())

    # Ends

    def _end(self, turn, how):
        self.ends[turn.turn_id].append(how)
        require(len(self.ends[turn.turn_id]) == 1, "INV-4", f"turn {turn.turn_id} ended as {self.ends[turn.turn_id]}")
        turn.state = how
        self.running.pop(turn.turn_id, None)
        del self.turns[turn.turn_id]
        del turn.job.turns[turn.turn_id]
        turn.context.turn = None

    def _end_job_if_done(self, job):
        idle = not job.turns and not self._tool_waits(job)
        if job.over and idle and self.jobs.get((job.tenant, job.job_id)) is job:
            self._end_job(job)

    def _end_job(self, job):
        del self.jobs[job.tenant, job.job_id]
        for contexts in self.sessions.values():
            for context in contexts.values():
                if context.job is job:
                    context.job = None
                    self._end_wait(context)

    def _turn_cancelled(self, event):
        self._cancel(self.turns[event.turn_id])

    def _cancel(self, turn, how="cancelled"):
        if turn.turn_id in self.members:
            turn.state = "stopping"
            return
        if turn.state == "running":
            self._end_run(turn, trusted=True)
        self._end(turn, how)
        self._end_job_if_done(turn.job)

    def _job_cancelled(self, event):
        self._abandon(self.jobs[event.tenant, event.job_id])

    def _abandon(self, job):
        job.over = False
        for turn in list(job.turns.values()):
            if turn.state != "stopping":
                self._cancel(turn)
        self._end_job(job)

    def _session_closed(self, event):
        key = event.tenant, event.session_id
        for job in [j for j in self.jobs.values() if j.session == key]:
            self._abandon(job)
        contexts = self.sessions.pop(key)
        for context in contexts.values():
            if context.turn is not None and context.turn.state != "stopping":
                self._cancel(context.turn)
            context.holding.closed = True
            if context.job is not None:
                self._end_job_if_done(context.job)

    # Batches

    def _batch_done(self, event):
        if event.batch_id in self.lost_batches:
            for holding, turn in self.lost_batches.pop(event.batch_id):
                self._let_go(holding.prefix, turn, trusted=False)
                self._free(holding)
            return
        batch, members, self.batch, self.members = self.batch, self.members, None, {}
        self.steps += event.steps
        failed = {outcome.turn_id for outcome in event.ended if outcome.outcome is Outcome.FAILED}
        for chunk in batch.chunks:
            turn, tokens = members[chunk.turn_id], chunk.tokens * event.steps
            self._compute(turn, tokens)
            holding = turn.context.holding
            if chunk.turn_id in failed and holding.closed:  # what it computed is lost with its blocks; the rest is told
                self._resize(holding, self.private(holding, max(turn.done - tokens, turn.reserved)))
        for outcome in event.ended:
            turn = members[outcome.turn_id]
            if turn.state == "running":
                self._end_running(turn, outcome)
        for turn in [t for t in members.values() if t.state == "stopping"]:
            self._end_run(turn, trusted=turn.turn_id not in failed)
            self._end(turn, "cancelled")
            self._end_job_if_done(turn.job)

    def _compute(self, turn, tokens):
        holding = turn.context.holding
        end = turn.done + tokens
        while turn.goal <= end:
            turn.tokens.append(next(self._numbers))
            turn.sampled += 1
        require(turn.sampled <= turn.max_output, "INV-4", f"turn {turn.turn_id} sampled {turn.sampled} tokens")
        shared, prefix = self.shared_tokens(holding), holding.prefix
        holding.content = turn.tokens[:end]
        if prefix is not None and turn.done < shared:
            written = turn.tokens[:end][:shared]
            mine = prefix.filler is turn
            same = prefix.content[: len(written)] == written
            require(mine or same, "INV-3", f"turn {turn.turn_id} writes into shared prefix {prefix.prefix_id}")
            if mine:
                prefix.content = written
                if len(written) == shared:
                    prefix.filler = None
        turn.done = end
        self._resize(holding, self.private(holding, max(end, turn.reserved)))

    def _end_running(self, turn, outcome):
        self._end_run(turn, trusted=outcome.outcome is not Outcome.FAILED)
        context = turn.context
        context.history = list(turn.tokens)
        self._end(turn, str(outcome.outcome))
        if outcome.outcome is Outcome.TOOL_CALL:
            context.waits = context.job is not None
        else:
            turn.job.over = True
            self._end_job_if_done(turn.job)

    def _end_run(self, turn, *, trusted):
        """Take a turn off its blocks; what it computed stays as a cache."""
        holding = turn.context.holding
        holding.content = turn.tokens[: turn.done] if trusted else []
        if turn.fills and not trusted:
            holding.prefix.filler = turn  # what it filled in this batch is not to be trusted either
        turn.context.history = list(turn.tokens)
        self._let_go(holding.prefix, turn, trusted=trusted)
        turn.reserved = 0
        self.running.pop(turn.turn_id, None)
        if holding.closed:
            return  # its DropCache tells
        self._resize(holding, self.private(holding, len(holding.content)))
        if not holding.blocks:
            holding.content = []

    def _batch_overdue(self, event):
        members, self.batch, self.members = self.members, None, {}
        frozen = []
        for turn in members.values():
            frozen.append((turn.context.holding, turn))
            self._freeze(turn.context, turn)
            self.running.pop(turn.turn_id, None)
            turn.context.history = list(turn.tokens)
            failed = turn.state == "running"
            self._end(turn, "failed" if failed else "cancelled")
            if failed:
                turn.state = "failed"
        self.lost_batches[event.batch_id] = frozen
        for turn in members.values():
            turn.job.over |= turn.state == "failed"
            self._end_job_if_done(turn.job)
        self._squeeze()

    def _freeze(self, context, filler):
        holding = context.holding
        holding.frozen = True
        if not holding.closed:
            context.holding = Holding(context.name, holding.prefix)
            self.holdings.append(context.holding)
            if holding.leaves_prefix:
                self._leave_prefix(context.holding)
        prefix = holding.prefix
        if prefix is None:
            return
        if prefix.filler is not filler or filler is None:
            prefix.holders -= 1
            holding.prefix = None
        else:
            prefix.replaced, prefix.filler = True, None
            new = Prefix(prefix.tenant, prefix.prefix_id, prefix.blocks)
            self.prefixes.append(new)
            for contexts in self.sessions.values():
                for other in contexts.values():
                    if other.holding.prefix is prefix and not other.holding.frozen:
                        other.holding.prefix = new

    # Copies

    def _swap_done(self, event):
        holding, turn, start, end, keep, fills = self.copies.pop(event.op_id)
        holding.copy = None
        prefix = holding.prefix
        if prefix is not None and fills and not event.failed and prefix.filler is turn:
            prefix.content = holding.host[: self.shared_tokens(holding)]
        self._let_go(prefix, turn, trusted=not event.failed)
        if holding.frozen or holding.closed:
            self._free(holding)
        elif turn is None:
            self._left(holding, end, keep, failed=event.failed)
        else:
            self._returned(holding, turn, start, end, failed=event.failed)
        if holding.leaves_prefix:
            self._leave_prefix(holding)

    def _left(self, holding, end, keep, *, failed):
        if failed:
            self._resize_host(holding, self.limits.blocks_for(len(holding.host)))
            return
        holding.host = holding.host + self.on_device(holding)[len(holding.host) : end]
        self._resize(holding, self.private(holding, keep))
        holding.content = self.on_device(holding)[:keep] if holding.blocks else []

    def _returned(self, holding, turn, start, end, *, failed):
        if turn.state == "returning":
            turn.state = "waiting"
        current = self._turn_of(holding)
        if current is not None and current.state == "returning":
            current.state = "waiting"
        if failed:
            self._free(holding)
            return
        holding.content = self.on_device(holding)[:start] + holding.host[start:end]
        if current is not turn:
            self._resize(holding, self.private(holding, end))
        if not holding.blocks:
            holding.content = []

    def _turn_of(self, holding):
        tenant, session, context = holding.name
        known = self.sessions.get((tenant, session), {}).get(context)
        return known.turn if known is not None else None

    def _swap_overdue(self, event):
        holding, turn, *_, fills = self.copies[event.op_id]
        tenant, session, name = holding.name
        context = self.sessions.get((tenant, session), {}).get(name)
        if context is None or context.holding is not holding:
            context = Context(holding.name, holding)
        if context.turn is not None and context.turn.state == "returning":
            context.turn.state = "waiting"
        self._freeze(context, turn if fills else None)
        self._squeeze()

    # Decisions

    def decided(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Refuse():
                    self._refused(decision)
                case DropCache():
                    self._dropped(decision)
                case SwapOut():
                    self._swap_out(decision)
                case SwapIn():
                    self._swap_in(decision)
                case Preempt():
                    self._preempted(decision)
                case RunBatch():
                    self._run(decision)
                case Hold():
                    turn = self.turns.get(decision.turn_id)
                    require(turn is None or turn.waits or turn.state == "running", "INV-2", f"{turn} is held")
                case WakeAt():
                    pass
        require(not self.to_refuse, "INV-4", f"turns {self.to_refuse} are neither admitted nor refused")
        self._forget()

    def _named(self, prefix):
        return any(c.holding.prefix is prefix for contexts in self.sessions.values() for c in contexts.values())

    def _refused(self, decision):
        if decision.turn_id in self.to_refuse:
            self.to_refuse.remove(decision.turn_id)

    @property
    def quarantined(self):
        return sum(h.blocks for h in self.holdings if h.frozen) + sum(
            p.held_blocks for p in self.prefixes if p.replaced
        )

    def _squeeze(self):
        """End every admitted turn that no longer fits beside what is quarantined."""
        usable = self.limits.device_blocks - self.quarantined
        for turn in list(self.turns.values()):
            if self.limits.blocks_for(turn.most) > usable and turn.state != "stopping":
                self.to_refuse.append(turn.turn_id)
                turn.job.over = True
                self._cancel(turn, "refused")

    def _dropped(self, decision):
        if decision.prefix_id:
            prefix = self._prefix(decision.tenant, decision.prefix_id, 0)
            require(prefix.blocks, "INV-1", f"{decision} of a prefix that nobody holds")
            require(not prefix.holders, "INV-3", f"prefix {prefix.prefix_id} is dropped while it is held")
            before = prefix.held_blocks
            prefix.content = prefix.content[: decision.keep_tokens]
            prefix.held_blocks = min(before, decision.keep_tokens // self.limits.block_tokens)
            require(before - prefix.held_blocks == decision.kv_blocks, "INV-1", f"{decision} frees of {before} blocks")
            return
        holding = self._dropped_holding(decision)
        if holding is None:
            require(not decision.kv_blocks, "INV-1", f"{decision}, which holds nothing")
            return
        held = holding.host_blocks if decision.on_host else holding.blocks
        turn = self._turn_of(holding)
        busy = turn is not None and turn.turn_id in self.running and not holding.closed and not decision.on_host
        require(not busy, "INV-3", f"{decision} while turn {turn and turn.turn_id} runs on it")
        require(decision.kv_blocks <= held, "INV-1", f"{decision} frees more than {held} blocks")
        if decision.on_host:
            holding.host = holding.host[: decision.keep_tokens]
            self._resize_host(holding, held - decision.kv_blocks)
        else:
            holding.content = holding.content[: decision.keep_tokens]
            self._resize(holding, held - decision.kv_blocks)
            if not holding.blocks:
                holding.content = []

    def _dropped_holding(self, decision):
        """The holding that a DropCache names: the context's own, or one that its closed session left behind."""
        name = decision.tenant, decision.session_id, decision.context_id
        computing = [turn.context.holding for turn in self.members.values()]
        named = [
            h for h in self.holdings
            if h.name == name and h not in computing and h.copy is None and not h.frozen
            and (h.host_blocks if decision.on_host else h.blocks)
        ]  # fmt: skip
        named.sort(key=lambda h: h.closed is not (decision.because.reason is Reason.ENDED))
        return named[0] if named else None

    def _swap_out(self, decision):
        context = self.sessions[decision.tenant, decision.session_id][decision.context_id]
        holding = context.holding
        require(holding.copy is None, "INV-3", f"{decision} while a copy of it is owed")
        require(
            context.turn is None or context.turn.turn_id not in self.running, "INV-3", f"{decision} of a running turn"
        )
        require(decision.to_tokens <= len(self.on_device(holding)), "INV-3", f"{decision} of {holding}")
        require(decision.from_tokens <= len(holding.host), "INV-3", f"{decision} leaves a gap: {holding}")
        holding.copy = decision.op_id
        self.copies[decision.op_id] = (
            holding, None, decision.from_tokens, decision.to_tokens, decision.keep_tokens, False,
        )  # fmt: skip
        if holding.prefix:
            self._hold(holding.prefix, None)
        self._resize_host(holding, self.limits.blocks_for(decision.to_tokens))

    def _swap_in(self, decision):
        turn = self.turns[decision.turn_id]
        holding = turn.context.holding
        require(turn.state == "waiting" and holding.copy is None, "INV-2", f"{decision} of a turn that is {turn.state}")
        require(decision.from_tokens <= len(self.on_device(holding)), "INV-3", f"{decision}: {holding}")
        require(decision.to_tokens <= len(holding.host), "INV-3", f"{decision}: the host has {len(holding.host)}")
        self._check_history(turn, holding.host[: decision.to_tokens], "is brought back")
        turn.state = "returning"
        holding.copy = decision.op_id
        fills = False
        if holding.prefix:
            fills = self._hold(holding.prefix, turn)
        self.copies[decision.op_id] = (holding, turn, decision.from_tokens, decision.to_tokens, 0, fills)
        self._resize(holding, max(holding.blocks, self.private(holding, self._reserve(turn))))

    def _preempted(self, decision):
        turn = self.turns[decision.turn_id]
        require(turn.state == "running", "INV-2", f"{decision} of a turn that is {turn.state}")
        turn.preemptions += 1
        most = self.limits.preemptions_max
        require(
            turn.preemptions <= most, "LIVE-3", f"turn {turn.turn_id} is preempted {turn.preemptions} times of {most}"
        )
        self._end_run(turn, trusted=True)
        turn.state = "waiting"

    def _reserve(self, turn):
        return turn.most if turn.preemptions >= self.limits.preemptions_max else turn.goal

    def _run(self, batch):
        require(self.batch is None, "INV-2", "two batches are owed")
        for dispatch in batch.dispatched:
            self._dispatched(dispatch)
        self.batch, self.members = batch, dict(self.running)
        self._earliest_advances(batch)
        for turn in self.running.values():
            prefix = turn.context.holding.prefix
            turn.fills = prefix is not None and prefix.filler is turn
        require(batch.max_steps >= 1 and batch.chunks, "INV-6", f"{batch} runs nothing")
        require(len({c.turn_id for c in batch.chunks}) == len(batch.chunks), "INV-4", f"{batch.chunks}")
        budget = sum(chunk.tokens for chunk in batch.chunks)
        require(budget <= self.limits.step_tokens_max, "LIMITS", f"{budget} tokens a step")
        require(len(self.running) <= self.limits.batch_turns_max, "LIMITS", f"{len(self.running)} turns run")
        for turn in self.running.values():
            holding = turn.context.holding
            self._resize(
                holding, max(holding.blocks, self.private(holding, min(max(turn.done + 1, turn.goal), turn.most)))
            )
        for chunk in batch.chunks:
            turn = self.running[chunk.turn_id]
            holding, end = turn.context.holding, turn.done + chunk.tokens * batch.max_steps
            require(end <= turn.goal or chunk.tokens == 1, "INV-4", f"{chunk} computes tokens nobody knows")
            require(end < turn.most, "INV-4", f"{chunk} goes beyond the maximum")
            self._resize(holding, max(holding.blocks, self.private(holding, end)))

    def _earliest_advances(self, batch):
        """LIVE-3: the earliest-arrived running turn has a chunk, or waits only for turns that hold their maximum."""
        serials = list(self.ends)
        first = min(self.running.values(), key=lambda turn: (turn.job.arrival, serials.index(turn.turn_id)))
        ahead = [self.running[chunk.turn_id] for chunk in batch.chunks]
        if first not in ahead and any(turn.reserved < turn.most for turn in ahead):
            numbers = f"of {first.goal} tokens {first.done} are computed; {len(ahead)} others take the whole step"
            raise InvariantError("LIVE-3", f"turn {first.turn_id}, the earliest that runs, stands still: {numbers}")

    def _dispatched(self, dispatch: Dispatch):
        turn = self.turns[dispatch.turn_id]
        holding = turn.context.holding
        require(turn.state == "waiting", "INV-2", f"turn {turn.turn_id} is {turn.state} and dispatched")
        require(holding.copy is None, "INV-3", f"turn {turn.turn_id} is dispatched while its cache is copied")
        start = dispatch.start_tokens
        require(0 <= start < turn.goal, "INV-3", f"{dispatch} starts from all {turn.goal} tokens")
        held = self.on_device(holding)
        require(start <= len(held), "INV-3", f"{dispatch}, but {len(held)} tokens are on the device")
        self._check_history(turn, held[:start], "starts from")
        turn.state = "running"
        self.running[turn.turn_id] = turn
        for job in self.jobs.values():
            if job.arrival < turn.job.arrival and job.waits:
                job.bypasses += 1
                self.worst_bypass = max(self.worst_bypass, job.bypasses)
                over = self.guarded and job.bypasses > self.limits.bypass_max
                require(not over, "LIVE-1", f"job {job.job_id} has {job.bypasses} bypasses")
        turn.done, turn.reserved = start, self._reserve(turn)
        if holding.prefix:
            self._hold(holding.prefix, turn)
        holding.content = turn.tokens[:start]
        self._resize(holding, max(holding.blocks, self.private(holding, turn.reserved)))

    def _check_history(self, turn, held, what):
        wrong = next((i for i, (a, b) in enumerate(zip(held, turn.tokens, strict=False)) if a != b), None)
        wrong = len(turn.tokens) if wrong is None and len(held) > len(turn.tokens) else wrong
        require(wrong is None, "INV-3", f"turn {turn.turn_id} {what} {len(held)} tokens; token {wrong} is another's")

    # Blocks

    def _resize(self, holding, blocks):
        holding.blocks = blocks

    def _resize_host(self, holding, blocks):
        holding.host_blocks = blocks

    def _free(self, holding):
        holding.blocks = holding.host_blocks = 0
        holding.content, holding.host = [], []
        holding.frozen = False

    def _hold(self, prefix, filler):
        prefix.holders += 1
        if len(prefix.content) == prefix.blocks * self.limits.block_tokens:
            return False
        require(prefix.filler is None, "INV-3", f"prefix {prefix.prefix_id} is filled twice")
        prefix.filler = filler
        prefix.held_blocks = prefix.blocks
        return True

    def _let_go(self, prefix, filler, *, trusted):
        if prefix is None:
            return
        prefix.holders -= 1
        if prefix.replaced:
            if not prefix.holders:
                prefix.held_blocks = 0
        elif filler is not None and prefix.filler is filler:
            prefix.filler = None
            blocks = len(prefix.content) // self.limits.block_tokens if trusted else 0
            prefix.content = prefix.content[: blocks * self.limits.block_tokens]
            prefix.held_blocks = blocks

    # Agreement

    def agree(self, view: Snapshot, *, settled: bool) -> None:
        """Compare with a snapshot; block counts only right after ``decide`` (``settled``)."""
        told = {turn.turn_id: turn.sampled_tokens for turn in view.turns}
        self._same(
            "INV-4", "sampled tokens of the live turns", told, {t.turn_id: t.sampled for t in self.turns.values()}
        )
        told = {(job.tenant, job.job_id): job.bypasses for job in view.jobs}
        self._same("LIVE-1", "bypasses of the live jobs", told, {key: job.bypasses for key, job in self.jobs.items()})
        self._same("LIVE-1", "worst bypass", view.worst_bypass, self.worst_bypass)
        if settled:
            self._same("INV-1", "free device blocks", view.device_free, self.device_free)
            self._same("INV-1", "free host blocks", view.host_free, self.host_free)

    @staticmethod
    def _same(claim, what, told, counted):
        if told != counted:
            raise InvariantError(claim, f"{what}: {told}, counted {counted}")
