"""A small driver that is always legal: it knows what it owes, and asks a few numbers where it has a choice.

Every choice is a small non-negative integer, so the same driver is steered by Hypothesis (which shrinks them) and by a
plain seeded generator. After each verb it compares the scheduler with the model and with the predicates.
"""

from __future__ import annotations

from attrs import define
from model import Model, require

from astraea.errors import ContractError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Drain,
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
from astraea.policy.core import Scheduler
from astraea.policy.invariants import check_snapshot
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.rivals import make_policy
from astraea.trace.check import check_trace
from astraea.trace.entries import DecideEntry, DecisionEntry, EventEntry, TraceHeader

TENANTS = ("ann", "bob")
TOOLS = ("shell", "search", "ask")
PREFIX_TOKENS = {"tools": 9, "long": 22}
PAUSES_US = (0, 0, 1, 700, 6_000, 50_000, 2_000_000, 400_000_000)
PROGRESS = ("RunBatch", "SwapOut", "SwapIn", "DropCache")


@define
class Arrival:
    """The choices of one arrival."""

    session: int = 0
    context: int = 0
    new: int = 5
    output: int = 3
    keep: int = 0
    """0: the history goes on; else how much of it is cut, in eighths, where below 8."""
    prefix: int = 0
    parent: int = 0
    job: int = 0
    hint: int = 0


def common_prefix(history, prompt):
    """Return how many leading numbers two lists have in common."""
    length = 0
    for held, wanted in zip(history, prompt, strict=False):
        if held != wanted:
            break
        length += 1
    return length


class Driver:
    """Drives one scheduler, and believes nothing that it says."""

    verbs_of_all = 0
    """Events and decides of every driver so far: how much the suite has done."""
    machine_steps = 0
    """Of Hypothesis' state machines: rules that were run so far."""

    def __init__(self, limits: Limits, policy: str | Policy) -> None:
        self.limits = limits
        self.core = Scheduler(limits, make_policy(policy, limits) if isinstance(policy, str) else policy)
        self.guarded = self.core.policy.guarded
        self.model = Model(limits, guarded=self.guarded)
        self.now_us = 0
        self.turn_ids = 0
        self.verbs = 0
        self.log: list = []
        self.entries: list = []
        self.draining = False
        header = TraceHeader(1, self.core.policy.name, limits, self.guarded, self.core.policy.blocking)
        self.entries.append(header)

    # Verbs

    def send(self, event, numbers=None):
        self.verbs += 1
        Driver.verbs_of_all += 1
        self.log.append(event)
        self.core.handle(event)
        self.entries.append(EventEntry(len(self.entries) + 1, event))
        view = self.core.snapshot()
        admitted = type(event) is not TurnArrived or any(t.turn_id == event.turn_id for t in view.turns)
        self.model.happened(event, admitted=admitted, numbers=numbers)
        self.check(view, settled=False)
        return admitted

    def decide(self, pause: int = 0):
        self.verbs += 1
        Driver.verbs_of_all += 1
        self.now_us += pause
        self.log.append(self.now_us)
        decisions = self.core.decide(self.now_us)
        self.log.append(decisions)
        self.entries.append(DecideEntry(len(self.entries) + 1, self.now_us))
        for decision in decisions:
            self.entries.append(DecisionEntry(len(self.entries) + 1, decision))
        self.model.decided(decisions)
        self.check(self.core.snapshot(), settled=True)
        self.check_live_2(decisions)
        return decisions

    def check(self, view, *, settled):
        check_snapshot(view, self.limits, self.guarded)
        self.model.agree(view, settled=settled)

    def check_live_2(self, decisions):
        """LIVE-2: turns that wait, and nothing owed, imply that something was decided that goes on."""
        model = self.model
        waiting = [turn.turn_id for turn in model.turns.values() if turn.waits]
        if waiting and model.batch is None and not model.copies_owed():
            names = [type(d).__name__ for d in decisions]
            require(any(n in PROGRESS for n in names), "LIVE-2", f"turns {waiting} wait, nothing is owed, and {names}")
            again = self.core.decide(self.now_us)
            require(bool(again), "LIVE-2", f"turns {waiting} wait, nothing is owed, and {names} led to nothing")

    def check_trace(self):
        """Let the trace checker, the third opinion, judge the whole run."""
        breach = check_trace(self.entries).breach
        require(breach is None, "trace", f"{breach}")

    # Choices

    def pause(self, choice: int):
        self.now_us += PAUSES_US[choice % len(PAUSES_US)]

    def arrive(self, a: Arrival):
        tenant = TENANTS[a.session % 2]
        session_id, context_id = f"s{a.session // 2 % 3}", f"c{a.context % 3}"
        key = tenant, session_id
        context = self.model.sessions.get(key, {}).get(context_id)
        if context is not None and context.turn is not None:
            return
        history = context.history if context is not None else []
        kept = len(history) if a.keep == 0 else len(history) * min(a.keep, 7) // 8
        shared, numbers = None, history[:kept]
        name = (None, "tools", "long")[a.prefix % 3]
        if name is not None:
            # The longer of two prompts that begin alike may name more of it, and a client may name what it cut.
            begins = [f"{tenant}/{name}/{i}" for i in range(PREFIX_TOKENS[name])]
            shared = SharedPrefix(name, len(begins))
            numbers = numbers if numbers[: len(begins)] == begins else begins
        reusable = common_prefix(history, numbers)
        numbers += [f"n{self.turn_ids}.{i}" for i in range(max(a.new, 0 if numbers else 1))]
        self.turn_ids += 1
        event = TurnArrived(
            self.now_us, tenant, session_id, self._job_id(a, tenant, key), f"t{self.turn_ids}", context_id,
            len(numbers), reusable, max(1, a.output), shared, self._hints(a, tenant),
        )  # fmt: skip
        try:
            self.send(event, numbers)
        except ContractError as error:
            if error.rule != "job-elsewhere":
                raise

    def _job_id(self, a, tenant, key):
        if a.job == 0:
            return f"j{self.turn_ids}"
        jobs = [job.job_id for job in self.model.jobs.values() if job.tenant == tenant]
        return jobs[a.job % len(jobs)] if jobs else f"j{self.turn_ids}"

    def _hints(self, a, tenant):
        parent = None
        jobs = [job.job_id for job in self.model.jobs.values() if job.tenant == tenant]
        if a.parent % 4 == 1 and jobs:
            parent = jobs[a.parent // 4 % len(jobs)]
        elif a.parent % 4 == 2:
            parent = "nobody"
        absurd = (None, 0, -5, 10**15)[a.hint % 4]
        oracle = Oracle(absurd, absurd) if absurd is not None else Oracle(3, 1000)
        return Hints(absurd, absurd, parent, oracle)

    def cancel_turn(self, choice: int):
        turns = [t for t in self.model.turns.values() if t.state != "stopping"]
        if turns:
            self.send(TurnCancelled(self.now_us, turns[choice % len(turns)].turn_id))

    def cancel_job(self, choice: int):
        jobs = list(self.model.jobs)
        if jobs:
            self.send(JobCancelled(self.now_us, *jobs[choice % len(jobs)]))

    def close_session(self, choice: int):
        sessions = list(self.model.sessions)
        if sessions:
            self.send(SessionClosed(self.now_us, *sessions[choice % len(sessions)]))

    def tool_returns(self, choice: int):
        waits = [
            c.name for contexts in self.model.sessions.values() for c in contexts.values() if c.waits and not c.returned
        ]
        if waits:
            self.send(ToolReturned(self.now_us, *waits[choice % len(waits)]))

    def report_batch(self, steps: int, fates: list[int]):
        """Report the owed batch: ``steps`` cut to what is legal, and one fate for each of its turns."""
        batch = self.model.batch
        if batch is None:
            return
        steps = min(steps, batch.max_steps)
        ended = []
        for i, chunk in enumerate(batch.chunks):
            turn = self.model.members[chunk.turn_id]
            outcome = self._fate(turn, chunk.tokens * steps, fates[i % len(fates)] if fates else 0, steps)
            if outcome is not None:
                ended.append(outcome)
        self.send(BatchDone(self.now_us, batch.batch_id, steps, tuple(ended)))

    @staticmethod
    def _fate(turn, tokens, fate, steps):
        """0 and 1: goes on; 2 to 4: calls a tool; 5, 6: final; 7: length; 8: fails."""
        sampled = max(0, turn.done + tokens - turn.goal + 1) if steps else 0
        must_end = turn.sampled + sampled >= turn.max_output
        if fate == 8:
            return TurnOutcome(turn.turn_id, Outcome.FAILED)
        if not sampled or (fate < 2 and not must_end):
            return None
        if 2 <= fate <= 4:
            return TurnOutcome(turn.turn_id, Outcome.TOOL_CALL, TOOLS[fate - 2])
        return TurnOutcome(turn.turn_id, Outcome.FINAL if fate in {5, 6} else Outcome.LENGTH)

    def batch_overdue(self):
        if self.model.batch is not None:
            self.send(BatchOverdue(self.now_us, self.model.batch.batch_id))

    def late_batch(self, choice: int, steps: int = 0):
        lost = list(self.model.lost_batches)
        if lost:
            self.send(BatchDone(self.now_us, lost[choice % len(lost)], steps))

    def swap_done(self, choice: int, *, failed: bool):
        owed = list(self.model.copies)
        if owed:
            self.send(SwapDone(self.now_us, owed[choice % len(owed)], failed))

    def swap_overdue(self, choice: int):
        owed = self.model.copies_owed()
        if owed:
            self.send(SwapOverdue(self.now_us, owed[choice % len(owed)]))

    def drain(self):
        self.draining = True
        self.send(Drain(self.now_us))

    # The end

    def finish(self):
        """LIVE-4: nothing more arrives, everything owed is reported, every turn ends in its time; the queue empties."""
        model = self.model
        most = sum(turn.max_output + turn.most for turn in model.turns.values())
        bound = 20 + 10 * (len(model.turns) + 1) * (self.limits.preemptions_max + 2) + 2 * most
        for _ in range(bound):
            if not model.turns and not model.copies and model.batch is None and not model.lost_batches:
                break
            self.now_us += 10_000
            for op_id in list(model.copies):
                self.send(SwapDone(self.now_us, op_id))
            for batch_id in list(model.lost_batches):
                self.send(BatchDone(self.now_us, batch_id, 0))
            self.decide()
            if model.batch is not None:
                self.report_batch(model.batch.max_steps, [0])
        require(not model.turns, "LIVE-4", f"after {bound} decides {[*model.turns]} still live")
        for key in list(model.sessions):
            self.send(SessionClosed(self.now_us, *key))
        self.decide()
        view = self.core.snapshot()
        cached = sum(prefix.device_blocks for prefix in view.prefixes if not prefix.holders)
        free = view.device_free + cached
        require(
            free == view.device_blocks, "INV-1", f"{free} of {view.device_blocks} blocks are free or a cached prefix"
        )
        require(view.host_free == view.host_blocks, "INV-1", f"{view.host_free} of {view.host_blocks} host blocks free")
        require(not view.jobs, "LIVE-4", f"jobs {view.jobs} never end")
        require(not view.caches, "INV-1", f"{view.caches} are left behind")
        require(
            all(p.device_blocks for p in view.prefixes), "INV-1", f"empty prefixes are left behind: {view.prefixes}"
        )
        for turn_id, how in model.ends.items():
            require(len(how) == 1, "INV-4", f"turn {turn_id} ended as {how}")
