"""Recounts, from the calls and answers alone, where every request should stand, and notes where a claim is broken.

The watch goes on after a breach, so that one broken claim does not hide the others: it notes the first of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define

from astraea.testing.adapter import Adapter, Request, Step, View
from astraea.testing.bypasses import Bypasses
from astraea.testing.claims import PATIENCE_STEPS
from astraea.testing.moves import Shape

__all__ = ["Life", "Watch"]

_PATIENCE_OWED_STEPS = 16 * PATIENCE_STEPS


@define
class Life:
    """What is known of one admitted request."""

    request: Request
    state: str = "waiting"
    """``waiting``, ``running``, ``finished`` or ``cancelled``."""
    produced: int = 0

    @property
    def live(self) -> bool:
        """Say whether it has yet to end."""
        return self.state in {"waiting", "running"}


class Watch:
    """The slow, obvious account of one run."""

    def __init__(self, adapter: Adapter) -> None:
        self.lives: dict[str, Life] = {}
        """Every admitted request, in the order of submission."""
        self.breaches: dict[str, str] = {}
        """The first breach of each claim, as a sentence."""
        self.occasions: Counter[str] = Counter()
        """How often each claim could have been broken."""
        self.bypasses = Bypasses(knows_jobs=adapter.knows_jobs)
        self.told = 0
        """Output tokens of all requests so far."""
        self._live: dict[str, Life] = {}
        self._lingering: set[str] = set()
        """Cancelled, and no step has been made since: they may still be in views."""
        self._shape = Shape.of(adapter)
        self._pool = adapter.pool_blocks
        self._bound = adapter.bypass_bound
        self._idle = 0

    def breach(self, claim: str, sentence: str) -> None:
        """Note a breach, unless the claim is broken already."""
        self.breaches.setdefault(claim, sentence)

    def live(self) -> list[Life]:
        """Return the requests that have yet to end, in the order of submission."""
        return [*self._live.values()]

    def too_large(self, request: Request) -> bool:
        """Say whether a request can never fit the pool."""
        return self._pool is not None and self._shape.blocks_for(request.tokens_max) > self._pool

    # Calls

    def submitted(self, request: Request, *, admitted: bool) -> None:
        """Take account of a request that was sent."""
        if self.too_large(request):
            self.occasions["INV-5"] += 1
            if admitted:
                blocks = self._shape.blocks_for(request.tokens_max)
                self.breach(
                    "INV-5", f"{request.request_id} may need {blocks} blocks, and is admitted to a pool of {self._pool}"
                )
        if admitted:
            self.lives[request.request_id] = self._live[request.request_id] = Life(request)
            self.bypasses.wait(request)

    def cancelled(self, request_id: str) -> None:
        """Take account of a request whose client is gone."""
        self.occasions["INV-4"] += 1
        self._leave(self.lives[request_id], "cancelled")
        self._lingering.add(request_id)

    def stepped(self, step: Step) -> None:
        """Take account of a step."""
        waited = [name for name, life in self._live.items() if life.state == "waiting"]
        self._lingering.clear()
        for request_id in step.preempted:
            self._move(request_id, "is preempted", "running", "waiting")
        for request_id in step.started:
            self._move(request_id, "is started", "waiting", "running")
        for request_id, tokens in step.ran.items():
            self._ran(request_id, tokens)
        for request_id in step.finished:
            self._finished(request_id)
        self._check_work(step, [name for name in waited if self.lives[name].state == "waiting"])

    def _move(self, request_id: str, what: str, source: str, target: str) -> None:
        life = self.lives.get(request_id)
        if life is None or not life.live:
            state = "not live" if life is None else life.state
            self.breach("INV-4" if life else "INV-2", f"{request_id} {what}, and is {state}")
            return
        self.occasions["INV-2"] += 1
        if life.state != source:
            self.breach("INV-2", f"{request_id} {what}, and was {life.state}")
        life.state = target
        if target == "waiting":
            self.bypasses.wait(life.request)
        else:
            self._started(life)

    def _started(self, life: Life) -> None:
        self.occasions["LIVE-1"] += bool(self.bypasses.start(life.request))
        worst, whom = self.bypasses.worst
        if self._bound is not None and worst > self._bound:
            self.breach("LIVE-1", f"{whom} is passed {worst} times while it waits; the bound is {self._bound}")

    def _ran(self, request_id: str, tokens: int) -> None:
        life = self.lives.get(request_id)
        if life is None or not life.live:
            state = "is not live" if life is None else f"was {life.state} before"
            self.breach("INV-4", f"{request_id} runs, and {state}")
            return
        if life.state != "running":
            self.breach("INV-2", f"{request_id} runs, and is {life.state}")
        life.produced += tokens
        self.told += max(0, tokens)
        if tokens < 0 or life.produced > life.request.future.output_tokens:
            due = life.request.future.output_tokens
            self.breach("INV-4", f"{request_id} has been told {life.produced} tokens of {due}")

    def _finished(self, request_id: str) -> None:
        self.occasions["INV-4"] += 1
        life = self.lives.get(request_id)
        if life is None or not life.live:
            state = "is not live" if life is None else f"was {life.state} before"
            self.breach("INV-4", f"{request_id} finishes, and {state}")
            return
        if life.state != "running":
            self.breach("INV-2", f"{request_id} finishes, and was {life.state}")
        if life.produced != life.request.future.output_tokens:
            due = life.request.future.output_tokens
            self.breach("INV-4", f"{request_id} finishes, and {life.produced} of its {due} tokens were told")
        self._leave(life, "finished")

    def _leave(self, life: Life, state: str) -> None:
        if life.state == "waiting":
            self.bypasses.unwait(life.request)
        life.state = state
        del self._live[life.request.request_id]

    def _check_work(self, step: Step, waiting: list[str]) -> None:
        self._idle = self._idle + 1 if self._live and not step.ran else 0
        self.occasions["LIVE-2"] += bool(self._live)
        self.occasions["INV-6"] += bool(waiting)
        if waiting and not step.ran and not step.owes:
            self.breach("INV-6", f"{_names(waiting)} waits, nothing is owed, and the step runs nothing")
        if self._idle >= (_PATIENCE_OWED_STEPS if step.owes else PATIENCE_STEPS):
            self.breach("LIVE-2", f"{_names(self._live)} is live, and {self._idle} steps in a row ran nothing")

    @property
    def stuck(self) -> bool:
        """Say whether the scheduler has come to a standstill."""
        return "LIVE-2" in self.breaches

    # Views

    def viewed(self, view: View) -> None:
        """Compare a view with the account."""
        for state, names in (("waiting", view.waiting), ("running", view.running)):
            self._check_state(state, names)
        if view.free_blocks is not None and self._pool is not None:
            self._check_blocks(view, view.free_blocks, self._pool)

    def _check_state(self, state: str, names: tuple[str, ...]) -> None:
        due = {name for name, life in self._live.items() if life.state == state}
        found = Counter(names)
        if found.keys() == due and len(names) == len(due):
            return
        for name in sorted(due - found.keys()):
            self.breach("INV-2", f"{name} should be {state}, and the view does not say so")
        for name in sorted(found.keys() - due - self._lingering):
            is_now = self.lives[name].state if name in self.lives else "not admitted"
            claim = "INV-2" if name not in self.lives or self.lives[name].live else "INV-4"
            self.breach(claim, f"{name} is {is_now}, and the view has it {state}")
        for name in sorted(name for name, times in found.items() if times > 1):
            self.breach("INV-2", f"{name} is {state} {found[name]} times over")

    def _check_blocks(self, view: View, free: int, pool: int) -> None:
        self.occasions["INV-1"] += bool(view.held_blocks)
        held = sum(view.held_blocks.values())
        if free + held + view.cached_blocks != pool:
            self.breach(
                "INV-1",
                f"{free} blocks are free, {held} held and {view.cached_blocks} cached: "
                f"{free + held + view.cached_blocks} of {pool}",
            )
        if min([free, view.cached_blocks, *view.held_blocks.values()]) < 0:
            self.breach("INV-1", "a count of blocks is negative")
        for name, blocks in view.held_blocks.items():
            if blocks and name not in self._live and name not in self._lingering:
                self.breach("INV-1", f"{name} is not live any more, and holds {blocks} blocks")


def _names(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} (and {len(rest)} more)" if rest else first
