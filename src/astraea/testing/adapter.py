"""What the kit asks of a scheduler: four methods, and three small values that they take and return.

The kit plays the clients, the adapter plays the engine around the scheduler under examination. Units: integer
microseconds of a virtual clock that only the kit moves, tokens, and KV blocks. One request is one LLM call; several
requests of one job come after each other, with a tool wait between, and each goes on from the context of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from attrs import field, frozen

__all__ = ["Adapter", "Factory", "Future", "Request", "Step", "View"]


@frozen(slots=True)
class Future:
    """What the engine finds out by running a request. An adapter acts on it at the moment it comes true, not before.

    A scheduler that looks at it earlier is clairvoyant, and INV-9 notices.
    """

    output_tokens: int
    """How many tokens the request will produce, at least 1 and at most its ``max_output_tokens``."""
    tool: str | None = None
    """The tool that it then calls; ``None`` where it ends its job."""


@frozen(slots=True)
class Request:
    """One LLM call, as a client would send it."""

    request_id: str
    """Unique in the run, and never used again."""
    job_id: str
    """The job that it belongs to; a job has at most one live request at a time."""
    turn: int
    """Its number within the job, from 0."""
    prompt_tokens: int
    """The whole prompt, at least 1: what earlier requests of the job left, and what is new."""
    reusable_tokens: int
    """How much of the prompt is the prompt and output of the job's last request; its KV may still be held."""
    max_output_tokens: int
    """The client's bound on the output."""
    future: Future
    """For the adapter's engine half only."""

    @property
    def tokens_max(self) -> int:
        """Return the most tokens of KV that it can come to."""
        return self.prompt_tokens + self.max_output_tokens


@frozen(slots=True)
class Step:
    """What one step did, to be read in the order of the fields: first the preemptions, then the starts, and so on."""

    preempted: tuple[str, ...] = ()
    """Requests that were running and wait from now on."""
    started: tuple[str, ...] = ()
    """Requests that were waiting and run from now on, in the order in which they were chosen; a restart counts."""
    ran: Mapping[str, int] = field(factory=dict[str, int])
    """Each request that computed anything, with how many *output* tokens it produced: 0 while it prefills."""
    finished: tuple[str, ...] = ()
    """Requests that have produced all of their output; they are gone."""
    owes: bool = False
    """Something is under way that a later step will complete, a copy for instance: a reason to run nothing now."""


@frozen(slots=True)
class View:
    """What is live between two calls."""

    waiting: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    free_blocks: int | None = None
    """Blocks that are free; ``None`` where the scheduler does not count blocks."""
    held_blocks: Mapping[str, int] = field(factory=dict[str, int])
    """Blocks by live request, waiting ones with a cache included."""
    cached_blocks: int = 0
    """Blocks in use by no single live request: kept between the requests of a job, or shared by several requests."""


class Adapter(Protocol):
    """A scheduler with an engine of its own around it. Inherit from it to have the defaults.

    All four methods get legal calls only: ids are known and live, times do not run backwards. None may raise.
    """

    pool_blocks: int | None = None
    """Size of the KV pool in blocks; ``None`` where it has none. A few dozen blocks show more than thousands."""
    block_tokens: int = 16
    """Tokens in one block."""
    knows_jobs: bool = False
    """Whether it schedules jobs. If not, each request counts as a job of its own where LIVE-1 counts bypasses."""
    bypass_bound: int | None = None
    """K of LIVE-1, where it promises one; let it be a few here. ``None``: the kit looks whether the worst grows."""

    def submit(self, request: Request, now_us: int) -> bool:
        """Take a request in, and return whether it is admitted. One that can never fit the pool is to be refused."""

    def cancel(self, request_id: str, now_us: int) -> None:
        """End a live request; its job sends nothing more. It may linger in views until the next step has been made."""

    def step(self, now_us: int) -> Step:
        """Choose what runs and run it once: for each running request a piece of its prompt or an output token."""

    def snapshot(self) -> View:
        """Return what is live now, changing nothing."""


Factory: TypeAlias = Callable[[], Adapter]
"""Makes a fresh adapter, each time the same one."""
