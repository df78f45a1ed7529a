"""One run: turns moves into calls of one adapter, keeps the clock, and lets the watch look at every answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

from attrs import frozen

from astraea.testing.adapter import Adapter, Factory, Future, Request, Step, View
from astraea.testing.claims import CALLS
from astraea.testing.moves import Advance, Arrive, Cancel, CancelAll, Job, Move
from astraea.testing.watch import Watch

__all__ = ["STEP_US", "Call", "Run", "play"]

STEP_US = 10_000
"""Virtual time that a step takes. Nothing else takes any."""

_QUIET_STEPS = 64
"""Steps without an output token, beyond two for each token of what is live, after which no end is to be hoped for."""

_LINES_MAX = 30
"""A longer story is told by its beginning and its end."""


@frozen(slots=True)
class Call:
    """One call and its answer."""

    sentence: str
    """The call, for people."""
    answer: bool | Step | None
    view: View | None
    """What was live afterwards; ``None`` where the call raised."""


class Run:
    """One run of a fresh adapter. It makes no call any more once it is ``over``.

    ``lengths`` gives other output lengths than the moves do, by request; ``until`` names claims whose breach ends it.
    """

    def __init__(self, factory: Factory, lengths: Mapping[str, int] | None = None, until: Collection[str] = ()) -> None:
        self.adapter: Adapter = factory()
        self.watch = Watch(self.adapter)
        self.calls: list[Call] = []
        self.breach_at: dict[str, int] = {}
        """By claim, how many calls had been made when its first breach was seen."""
        self.now_us = 0
        self.crashed = False
        self.over = False
        """The adapter raised, or a claim is broken that was to end the run."""
        self._lengths = lengths or {}
        self._until = frozenset(until)
        self._jobs = 0
        self._plans: dict[str, Job] = {}
        self._due: list[tuple[int, int, Request]] = []
        """Requests whose tools are at work: when they return, a serial number, and the request."""
        self._due_serial = 0

    # Moves

    def make(self, move: Move) -> None:
        """Carry out one move."""
        match move:
            case Arrive(jobs):
                for job in jobs:
                    self.arrive(job)
            case Cancel(choice):
                self.cancel(choice)
            case CancelAll():
                self._due.clear()
                for _ in self.watch.live():
                    self.cancel(0)
            case Advance(steps):
                for _ in range(steps):
                    self.step()

    def arrive(self, job: Job) -> None:
        """Send the first request of a job."""
        job_id = _letters(self._jobs)
        self._jobs += 1
        self._plans[job_id] = job
        self._submit(self._request(job_id, 0, held_tokens=0))

    def cancel(self, choice: int) -> None:
        """Cancel one of the live requests, if there is any."""
        live = self.watch.live()
        if live and not self.over:
            self._cancel(live[choice % len(live)].request.request_id)

    def step(self) -> None:
        """Send what the tools have brought by now, and make one step."""
        while self._due and self._due[0][0] <= self.now_us:
            self._submit(self._due.pop(0)[2])
        if self.over:
            return
        try:
            step = self.adapter.step(self.now_us)
        except Exception as error:  # noqa: BLE001 - whatever a scheduler raises is a finding
            self._crash("step()", error)
            return
        self.now_us += STEP_US
        live = self.watch.live()
        self.watch.stepped(step)
        self._answered(_told(step), step)
        for life in live:
            if life.state == "finished":
                self._call_tool(life.request)

    def finish(self) -> None:
        """Let nothing more arrive, and make steps until all is done or it is clear that it never will be (LIVE-4)."""
        told, quiet = 0, 0
        while not self.over and not self.watch.stuck and (self._due or self.watch.live()):
            if not self.watch.live():
                self.now_us = max(self.now_us, self._due[0][0])
            self.step()
            quiet = quiet + 1 if self.watch.told == told else 0
            told = self.watch.told
            if quiet > _QUIET_STEPS + 2 * sum(life.request.tokens_max for life in self.watch.live()):
                break
        left = [life.request.request_id for life in self.watch.live()]
        self.watch.occasions["LIVE-4"] += bool(self.watch.lives)
        if left and not self.over:
            self.watch.breach("LIVE-4", f"{left[0]} never ends, {len(self.calls)} calls after the beginning")
            self.breach_at.setdefault("LIVE-4", len(self.calls))

    # Calls

    def _submit(self, request: Request) -> None:
        if self.over:
            return
        told = f"submit({request.request_id}: prompt {request.prompt_tokens}"
        told += f", {request.reusable_tokens} of it reusable" if request.reusable_tokens else ""
        told += f", output {request.future.output_tokens} of at most {request.max_output_tokens})"
        try:
            admitted = self.adapter.submit(request, self.now_us)
        except Exception as error:  # noqa: BLE001 - whatever a scheduler raises is a finding
            self._crash(told, error)
            return
        self.watch.submitted(request, admitted=admitted)
        self._answered(f"{told} -> {'admitted' if admitted else 'refused'}", admitted)
        if admitted and self.watch.too_large(request):
            self._cancel(request.request_id)  # INV-5 is broken; the other claims are judged without it

    def _cancel(self, request_id: str) -> None:
        try:
            self.adapter.cancel(request_id, self.now_us)
        except Exception as error:  # noqa: BLE001 - whatever a scheduler raises is a finding
            self._crash(f"cancel({request_id})", error)
            return
        self.watch.cancelled(request_id)
        self._answered(f"cancel({request_id})", None)

    def _answered(self, told: str, answer: bool | Step | None) -> None:  # noqa: FBT001 - the answer of submit
        try:
            view = self.adapter.snapshot()
        except Exception as error:  # noqa: BLE001 - whatever a scheduler raises is a finding
            self._crash("snapshot()", error)
            return
        self.watch.viewed(view)
        self.watch.occasions[CALLS] += 1
        self._note(Call(told, answer, view))

    def _crash(self, told: str, error: Exception) -> None:
        self.crashed = self.over = True
        self.watch.breach(CALLS, f"{told} raised {type(error).__name__}: {error}")
        self._note(Call(f"{told} raised {type(error).__name__}", None, None))

    def _note(self, call: Call) -> None:
        self.calls.append(call)
        for claim in self.watch.breaches:
            self.breach_at.setdefault(claim, len(self.calls))
        self.over |= not self._until.isdisjoint(self.watch.breaches)

    # Clients

    def _request(self, job_id: str, turn: int, held_tokens: int) -> Request:
        plan = self._plans[job_id].turns[turn]
        request_id = f"{job_id}{turn}"
        last = turn + 1 == len(self._plans[job_id].turns)
        future = Future(self._lengths.get(request_id, plan.output_tokens), None if last else "tool")
        most = plan.output_tokens + plan.slack_tokens
        return Request(request_id, job_id, turn, held_tokens + plan.new_tokens, held_tokens, most, future)

    def _call_tool(self, request: Request) -> None:
        if request.future.tool is None:
            return
        tool_us = self._plans[request.job_id].turns[request.turn].tool_us
        held = request.prompt_tokens + request.future.output_tokens
        self._due_serial += 1
        due = self.now_us + tool_us, self._due_serial, self._request(request.job_id, request.turn + 1, held)
        self._due.append(due)
        self._due.sort(key=lambda entry: entry[:2])

    def sentences(self, upto: int | None = None) -> tuple[str, ...]:
        """Return the calls and answers as lines, the first ``upto`` of them; the same line many times is told once."""
        lines = []
        for sentence, times in groupby(call.sentence for call in self.calls[:upto]):
            count = sum(1 for _ in times)
            lines.append(sentence if count == 1 else f"{sentence} ({count} times)")
        left_out = len(lines) - _LINES_MAX
        if left_out > 0:
            lines[_LINES_MAX // 2 : -_LINES_MAX // 2] = [f"... {left_out} lines more"]
        return tuple(lines)


def play(
    factory: Factory,
    moves: Iterable[Move],
    lengths: Mapping[str, int] | None = None,
    until: Collection[str] = (),
) -> Run:
    """Make the moves on a fresh adapter, let it come to rest, and return the run.

    It ends early once one of the claims in ``until`` is broken.
    """
    run = Run(factory, lengths, until)
    for move in moves:
        run.make(move)
    run.finish()
    return run


def _told(step: Step) -> str:
    parts = [f"{word} {', '.join(names)}" for word, names in (("preempts", step.preempted), ("starts", step.started))]
    parts = [part for part, names in zip(parts, (step.preempted, step.started), strict=True) if names]
    if step.ran:
        parts.append("runs " + ", ".join(f"{name}+{tokens}" for name, tokens in step.ran.items()))
    if step.finished:
        parts.append(f"finishes {', '.join(step.finished)}")
    if step.owes:
        parts.append("owes something")
    return "step() -> " + ("; ".join(parts) or "nothing")


def _letters(number: int) -> str:
    """Return a, b, ... z, aa, ab, ... for 0, 1, ..."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
