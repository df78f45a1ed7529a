"""Judges a trace from outside: from what happened and what was decided, never by asking the scheduler.

A slow and obvious model of its own follows the trace line by line and stops at the first line that breaks a claim. The
scheduler decides at ``decide`` what it refuses at an arrival, so events are applied when the ``decide`` after them is
read, each under its own line.

========  ==============================================================================================================
claim     what is judged
========  ==============================================================================================================
INV-1     device and host blocks, in-flight and quarantined ones included, never exceed the pools; each ``DropCache``
          frees what the cache held beyond what it keeps; what a closed session held is dropped at the next ``decide``
INV-2     each turn moves by the turn table; decisions name live turns and known contexts
INV-3     (in part) a turn starts from tokens that the device holds and that are still a prefix, computes at least one,
          and nothing in use is dropped, copied or preempted; block addresses cannot be seen
INV-4     a turn ends once, with a token sampled in the last step unless it failed; chunks compute known tokens only,
          none twice, and never more than ``max_output_tokens``; one batch is owed at a time
INV-5     no admitted turn is larger than the pool less what is quarantined
INV-6     see :mod:`astraea.trace.check_work`
LIVE-1    bypasses of every job, counted again at every dispatch; at ``bypass_max`` nothing of a later job passes.
          Judged where the header says that the policy is guarded
LIVE-3    no turn is preempted more than ``preemptions_max`` times, nor before a later-arrived one that may be
LIMITS    ``batch_turns_max``, ``step_tokens_max``, ``steps_max``, ``turns_max``; nothing is admitted after ``Drain``
DIGEST    the digest of the end line is that of the lines before it
========  ==============================================================================================================

``CONTRACT`` names an event that the driver may not send. Not judged: INV-7 (replay shows it), INV-8 and INV-9 (they
need two runs), INV-10 (it needs the scheduler's state), LIVE-4 (it needs the whole future; turns that are live at the
end are counted), and whether the numbers in a ``because`` are the ones that were compared.

What follows the last ``decide`` is judged up to the first arrival, for whether that is refused is not known. In a trace
that was cut short the last ``decide`` may lack decisions: those that are there are judged, what is missing is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from astraea.decisions import Refuse
from astraea.errors import ContractError, InvariantError, TraceError
from astraea.events import BatchOverdue, SwapOverdue, TurnArrived
from astraea.policy.tables import TurnState
from astraea.trace.check_bypass import Bypasses
from astraea.trace.check_decisions import Decisions
from astraea.trace.check_records import broken
from astraea.trace.check_report import Breach, CheckReport
from astraea.trace.check_reports import Reports
from astraea.trace.check_work import WorkConserving
from astraea.trace.digest import RunDigest
from astraea.trace.entries import DecideEntry, DecisionEntry, EndEntry, Entry, EventEntry, TraceHeader

__all__ = ["CLAIMS_JUDGED", "check_trace"]

_REFUSABLE = (TurnArrived, BatchOverdue, SwapOverdue)
"""Events after which only the next ``decide`` tells which turns are admitted still."""
CLAIMS_JUDGED = ("INV-1", "INV-2", "INV-3", "INV-4", "INV-5", "INV-6", "LIVE-1", "LIVE-3", "LIMITS", "DIGEST")


def check_trace(entries: Iterable[Entry]) -> CheckReport:
    """Judge a trace; raise :class:`TraceError` where it does not begin with a header."""
    stream = iter(entries)
    header = next(stream, None)
    if not isinstance(header, TraceHeader):
        raise TraceError("trace", 1, "the trace does not begin with a header")
    judge = _Judge(header)
    breach = None
    try:
        for entry in stream:
            judge.take(entry)
        judge.finish(complete=False)
    except (InvariantError, ContractError) as error:
        breach = judge.breach(error)
    return judge.report(breach)


class _Judge:
    """Collects the lines up to a whole ``decide`` and applies them."""

    def __init__(self, header: TraceHeader) -> None:
        self._header = header
        self._digest = RunDigest()
        self._events: list[EventEntry] = []
        self._decide: DecideEntry | None = None
        self._decisions: list[DecisionEntry] = []
        self._counts = [0, 0, 0]
        self._end: EndEntry | None = None
        self._state = Reports(header.limits)
        self._bypasses = Bypasses(self._state.jobs, header.limits.bypass_max if header.guarded else None)
        self._applied = Decisions(self._state, self._bypasses)
        self._work = WorkConserving(self._state, self._bypasses, header.blocking)

    def take(self, entry: Entry) -> None:
        """Take in the next line."""
        match entry:
            case EventEntry():
                self._settle()
                self._counts[0] += 1
                self._events.append(entry)
                self._digest.reported(entry.event)
            case DecideEntry():
                self._settle()
                self._counts[1] += 1
                self._decide = entry
            case DecisionEntry():
                self._counts[2] += 1
                self._decisions.append(entry)
            case EndEntry():
                self.finish(complete=True)
                self._end = entry
                self._state.line = entry.line
                if entry.digest != self._digest.hexdigest():
                    broken("DIGEST", f"the lines before have digest {self._digest.hexdigest()}, not {entry.digest}")
            case TraceHeader():
                raise TraceError("trace", entry.line, "a second header")

    def finish(self, *, complete: bool) -> None:
        """Apply what is left at the end of the trace, as far as it can be judged."""
        known = list(takewhile(lambda entry: not isinstance(entry.event, _REFUSABLE), self._events))
        if complete or len(known) == len(self._events):
            self._settle(whole=complete)
        if self._events:
            self._events = known
            self._apply_events()

    def _settle(self, *, whole: bool = True) -> None:
        """Apply a ``decide`` with the events before it; one that is not ``whole`` may lack decisions."""
        decide, self._decide = self._decide, None
        if decide is None:
            return
        decisions, self._decisions = self._decisions, []
        self._digest.decided(decide.now_us, [entry.decision for entry in decisions])
        state = self._state
        for entry in decisions:
            if isinstance(entry.decision, Refuse):
                state.refusals[entry.decision.turn_id].append(entry.decision)
        self._apply_events()
        state.line = decide.line
        state.clock(decide.now_us)
        may_place = state.batch is None
        self._applied.begin()
        for entry in decisions:
            self._applied.decided(entry.decision, entry.line)
        state.refusals.clear()
        if whole:
            self._after(decide, may_place=may_place)

    def _apply_events(self) -> None:
        events, self._events = self._events, []
        for entry in events:
            self._state.happened(entry.event, entry.line)

    def _after(self, decide: DecideEntry, *, may_place: bool) -> None:
        """Judge the state that a ``decide`` left."""
        state = self._state
        self._applied.end()
        state.line = decide.line
        for holding in state.memory.closing:
            blocks = f"{holding.device_blocks} device and {holding.host_blocks} host blocks"
            broken("INV-1", f"{holding.name} closed at line {holding.closed_line} and still holds {blocks}")
        if state.memory.quarantined:
            self._all_fit()
        if may_place:
            self._work.judge(self._applied.running, self._applied.unblocked)
            state.news = False

    def _all_fit(self) -> None:
        state = self._state
        for turn in state.jobs.turns.values():
            blocks, usable = state.limits.blocks_for(turn.max_tokens), state.memory.usable
            if blocks > usable and turn.state is not TurnState.STOPPING:
                broken("INV-5", f"turn {turn.turn_id!r} of {blocks} blocks stays admitted; {usable} blocks are usable")

    def breach(self, error: InvariantError | ContractError) -> Breach:
        """Return the breach that an error tells of, at the line that is being applied."""
        name = error.claim if isinstance(error, InvariantError) else error.rule
        sentence = str(error).removeprefix(f"{name}: ")
        if isinstance(error, ContractError):
            return Breach(self._state.line, "CONTRACT", f"{sentence} ({name})")
        return Breach(self._state.line, name, sentence)

    def report(self, breach: Breach | None) -> CheckReport:
        """Return what was judged and found."""
        state, limits, jobs = self._state, self._header.limits, self._state.jobs
        left_out = {"LIVE-1"} if not self._header.guarded else set()
        left_out |= {"DIGEST"} if self._end is None else set()
        return CheckReport(
            policy=self._header.policy,
            guarded=self._header.guarded,
            claims=tuple(claim for claim in CLAIMS_JUDGED if claim not in left_out),
            breach=breach,
            complete=self._end is not None,
            events=self._counts[0],
            decides=self._counts[1],
            decisions=self._counts[2],
            jobs=jobs.arrived,
            turns_admitted=jobs.admitted,
            turns_ended=jobs.admitted - len(jobs.turns),
            turns_live=len(jobs.turns),
            turns_refused=state.refused,
            worst_bypass=self._bypasses.worst,
            bypass_max=limits.bypass_max,
            worst_preemptions=self._applied.worst_preemptions,
            preemptions_max=limits.preemptions_max,
            device_blocks_peak=state.memory.device_peak,
            device_blocks=limits.device_blocks,
            host_blocks_peak=state.memory.host_peak,
            host_blocks=limits.host_blocks,
            digest=self._digest.hexdigest(),
        )
