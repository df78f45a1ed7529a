"""Tells in plain words what became of one turn, and why: what it waited for, who took its cache, when it ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches

from attrs import Factory, define

from astraea.decisions import Decision, Dispatch, DropCache, Hold, Preempt, Refuse, RunBatch, SwapIn, SwapOut
from astraea.errors import UsageError
from astraea.events import (
    BatchDone,
    BatchOverdue,
    Event,
    JobCancelled,
    SessionClosed,
    SwapDone,
    TurnArrived,
    TurnCancelled,
)
from astraea.trace.entries import DecideEntry, DecisionEntry, Entry, EventEntry
from astraea.trace.words import because_in_words, outcome_in_words, seconds

__all__ = ["explain_turn"]


def explain_turn(entries: Iterable[Entry], turn_id: str) -> list[str]:
    """Return the story of a turn as sentences, each with its time.

    Raises :class:`UsageError` where the trace has no such turn; the sentence names ids that look alike.
    """
    told = list(entries)
    arrivals = {
        e.event.turn_id: e.event for e in told if isinstance(e, EventEntry) and isinstance(e.event, TurnArrived)
    }
    if turn_id not in arrivals:
        alike = get_close_matches(turn_id, arrivals, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else f"; it has {len(arrivals)} turns"
        raise UsageError(f"the trace has no turn {turn_id!r}{hint}")
    story = _Story(arrivals[turn_id], _serials(told))
    now_us = 0
    for entry in told:
        if isinstance(entry, EventEntry):
            story.event(entry.event)
        elif isinstance(entry, DecideEntry):
            now_us = entry.now_us
        elif isinstance(entry, DecisionEntry):
            story.decision(entry.decision, now_us)
    return story.sentences


def _serials(entries: list[Entry]) -> dict[int, str]:
    """Return turn ids by their order of admission: an arrival that the next ``decide`` refuses has none."""
    serials: dict[int, str] = {}
    arrived: list[str] = []
    refused: defaultdict[str, int] = defaultdict(int)

    def settle() -> None:
        for turn_id in arrived:
            if refused[turn_id]:
                refused[turn_id] -= 1
            else:
                serials[len(serials) + 1] = turn_id
        arrived.clear()
        refused.clear()

    deciding = False
    for entry in entries:
        if isinstance(entry, DecisionEntry):
            if isinstance(entry.decision, Refuse):
                refused[entry.decision.turn_id] += 1
            continue
        if deciding:
            settle()
        deciding = isinstance(entry, DecideEntry)
        if isinstance(entry, EventEntry) and isinstance(entry.event, TurnArrived):
            arrived.append(entry.event.turn_id)
    settle()
    return serials


@define(slots=True, eq=False)
class _Story:
    """Follows one turn, and the cache of its context from the turn before."""

    subject: TurnArrived
    serials: dict[int, str]
    sentences: list[str] = Factory(list)
    live: bool = False
    ready_us: int = 0
    """Since when it waits."""
    passed: int = 0
    """Dispatches of others while it waits."""
    computed: int = 0
    """Leading tokens that were computed before and are still a prefix."""
    sampled: int = 0
    held: int = 0
    """Tokens on the device while it runs."""
    batch: RunBatch | None = None
    swaps: dict[int, str] = Factory(dict)
    before: list[str] = Factory(list)
    """What became of the context's cache since its last turn."""

    def say(self, now_us: int, sentence: str) -> None:
        """Tell it now, or once the turn arrives where it is about the cache that the turn will need."""
        (self.sentences if self.live else self.before).append(f"{seconds(now_us)}: {sentence}")

    # Events

    def event(self, event: Event) -> None:
        """Follow an event."""
        match event:
            case TurnArrived(turn_id=turn_id) if turn_id == self.subject.turn_id:
                self._arrived(event)
            case BatchDone():
                self._batch_done(event)
            case BatchOverdue():
                if self.live and self.batch is not None and self.held:
                    self.say(event.now_us, "failed: the engine did not report its batch in time")
                    self.live = False
                self.batch = None
            case TurnCancelled(turn_id=turn_id) if self.live and turn_id == self.subject.turn_id:
                self._ended(event.now_us, "was cancelled by its client")
            case JobCancelled(job_id=job_id) if self.live and job_id == self.subject.job_id:
                self._ended(event.now_us, f"ended because its job {job_id!r} was cancelled")
            case SessionClosed(session_id=session_id) if self.live and session_id == self.subject.session_id:
                self._ended(event.now_us, "ended because its session was closed")
            case SwapDone(op_id=op_id) if op_id in self.swaps:
                self.say(event.now_us, f"{self.swaps.pop(op_id)} {'failed' if event.failed else 'ended'}")
            case _:
                pass

    def _arrived(self, event: TurnArrived) -> None:
        self.subject, self.live = event, True
        self.ready_us, self.passed, self.sampled, self.held = event.now_us, 0, 0, 0
        self.computed = event.reusable_tokens
        self.sentences += self.before
        self.before.clear()
        self.say(
            event.now_us,
            f"arrived for job {event.job_id!r} in context {event.context_id!r} of session {event.session_id!r}: "
            f"{event.context_tokens:,} tokens, {event.reusable_tokens:,} of them known from before, and at most "
            f"{event.max_output_tokens:,} to produce",
        )

    def _batch_done(self, event: BatchDone) -> None:
        batch, self.batch = self.batch, None
        if batch is not None and self.live:
            for chunk in batch.chunks:
                if chunk.turn_id == self.subject.turn_id and event.steps:
                    goal = self.subject.context_tokens + self.sampled
                    self.held += chunk.tokens * event.steps
                    self.computed = max(self.computed, self.held)
                    self.sampled += max(0, self.held - goal + 1)
        for outcome in event.ended:
            if outcome.turn_id == self.subject.turn_id and self.live:
                self._ended(event.now_us, outcome_in_words(outcome))

    def _ended(self, now_us: int, how: str) -> None:
        since = f"{seconds(now_us - self.subject.now_us)} after it arrived, with {self.sampled:,} tokens produced"
        self.say(now_us, f"{how}, {since}")
        self.live = False

    # Decisions

    def decision(self, decision: Decision, now_us: int) -> None:
        """Follow a decision."""
        match decision:
            case RunBatch():
                self._batch(decision, now_us)
            case SwapOut() | SwapIn() | DropCache():
                if self._mine(decision):
                    self._cache(decision, now_us)
            case Hold() | Preempt() | Refuse() if self.live and decision.turn_id == self.subject.turn_id:
                self._stopped(decision, now_us)
            case _:
                pass

    def _batch(self, batch: RunBatch, now_us: int) -> None:
        self.batch = batch
        for dispatch in batch.dispatched:
            if dispatch.turn_id == self.subject.turn_id and self.live:
                self._dispatched(dispatch, now_us)
            else:
                self.passed += 1

    def _dispatched(self, dispatch: Dispatch, now_us: int) -> None:
        start, goal = dispatch.start_tokens, self.subject.context_tokens + self.sampled
        waited = f"was dispatched after waiting {seconds(now_us - self.ready_us)}"
        if self.passed:
            waited += f", during which {self.passed:,} other turn{'s were' if self.passed > 1 else ' was'} dispatched"
        again = max(0, min(self.computed, goal - 1) - start)
        work = f"it went on from {start:,} of {goal:,} tokens"
        if again:
            work += f" and computed {again:,} again that its cache had lost"
        self.say(now_us, f"{waited}; {because_in_words(dispatch.because)}; {work}")
        self.held = start

    def _stopped(self, decision: Hold | Preempt | Refuse, now_us: int) -> None:
        why = because_in_words(decision.because)
        if isinstance(decision, Hold):
            self.say(now_us, f"had to wait: {why}")
        elif isinstance(decision, Preempt):
            self.say(now_us, f"was preempted: {why}")
            self.ready_us, self.passed, self.held = now_us, 0, 0
        else:
            self.say(now_us, f"was refused: {why}")
            self.live = False

    # The cache

    def _mine(self, decision: SwapOut | SwapIn | DropCache) -> bool:
        key = (decision.tenant, decision.session_id, decision.context_id)
        subject = self.subject
        if isinstance(decision, DropCache) and decision.prefix_id:
            prefix = subject.shared_prefix
            return prefix is not None and (decision.tenant, decision.prefix_id) == (subject.tenant, prefix.prefix_id)
        return key == (subject.tenant, subject.session_id, subject.context_id)

    def _cache(self, decision: SwapOut | SwapIn | DropCache, now_us: int) -> None:
        why = because_in_words(decision.because) + self._for_whom(decision)
        if isinstance(decision, DropCache):
            what = (
                "its shared prefix"
                if decision.prefix_id
                else "its copy on the host"
                if decision.on_host
                else "its cache"
            )
            lost = f"was cut to {decision.keep_tokens:,} tokens" if decision.keep_tokens else "was dropped"
            self.say(now_us, f"{what} {lost}, which freed {decision.kv_blocks:,} blocks: {why}")
            return
        tokens = f"{decision.to_tokens - decision.from_tokens:,} tokens of its cache"
        where = "to the host" if isinstance(decision, SwapOut) else "back to the device"
        self.swaps[decision.op_id] = f"the copy {where}"
        self.say(now_us, f"{tokens} were sent {where}: {why}")

    def _for_whom(self, decision: SwapOut | SwapIn | DropCache) -> str:
        serial = dict(decision.because.numbers).get("for_turn")
        turn_id = self.serials.get(serial) if serial is not None else None
        return f", for turn {turn_id!r}" if turn_id is not None else ""
