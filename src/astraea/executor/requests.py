"""What a client asks of the executor for one turn, and the answer as it comes."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from attrs import Factory, define, field, frozen
from attrs import validators as v

from astraea.errors import UsageError
from astraea.events import Hints
from astraea.executor.sampling import Logprob, Sampling

__all__ = ["Answer", "Finish", "Token", "TurnRequest"]


def _token_ids(prompt: Iterable[int]) -> tuple[int, ...]:
    """Return a prompt as plain numbers; raise :class:`UsageError` for what are none."""
    try:
        return tuple(array("q", prompt))
    except (TypeError, OverflowError) as error:
        raise UsageError(f"a prompt is a sequence of token ids: {error}") from error


class Finish(StrEnum):
    """How a turn ended."""

    STOP = "stop"
    """A stop token or a stop string came."""
    LENGTH = "length"
    """It produced ``max_output_tokens`` tokens."""
    FAILED = "failed"
    """It could not be computed; ``error`` says why."""
    CANCELLED = "cancelled"
    REFUSED = "refused"
    """It was not, or no longer, admitted; ``error`` says why."""


@frozen(slots=True)
class Token:
    """One token of an answer."""

    token: int
    text: str
    """What became certain of the text with it; empty where no text is made."""
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()


@frozen(slots=True, kw_only=True)
class TurnRequest:
    """One LLM call; the ids mean what they mean in :class:`astraea.events.TurnArrived`."""

    tenant: str = "default"
    session_id: str
    job_id: str
    turn_id: str
    context_id: str = "main"
    prompt: Sequence[int] = field(converter=_token_ids, validator=v.min_len(1))
    """The whole prompt as token ids."""
    max_output_tokens: int = field(validator=v.ge(1))
    ends_after: int | None = field(default=None, validator=v.optional(v.ge(1)))
    """End it as by a stop token after so many tokens, for work whose lengths are known; the scheduler is not told."""
    sampling: Sampling = field(factory=Sampling)
    stop_tokens: frozenset[int] | None = None
    """Tokens that end it, themselves told; ``None`` for those that the model names."""
    min_output_tokens: int = field(default=0, validator=v.ge(0))
    """No token that ends it is drawn before so many are there; a stop string may end it earlier."""
    stop: tuple[str, ...] = ()
    """Strings that end it, themselves not told in the text."""
    text: bool = False
    """Whether to make text of it; a stop string does so too."""
    shared_prefix_tokens: int | None = None
    """How many first tokens other contexts of the tenant have too; ``None`` to let the executor find out."""
    hints: Hints = field(factory=Hints)
    tool_of: Callable[[Answer], str | None] | None = None
    """Called at its end: the name of the tool that it calls, or ``None`` where it is an answer."""
    on_start: Callable[[int], None] | None = None
    """Called when it is first dispatched, with how many tokens of its prompt are held already; it must not raise."""
    on_token: Callable[[Token], None] | None = None
    """Called with each token, in the engine's thread."""
    on_end: Callable[[Answer], None] | None = None
    """Called when it has ended, in whatever way; it must not raise."""


@define(eq=False)
class Answer:
    """What came of a turn so far."""

    request: TurnRequest
    tokens: list[int] = Factory(list)
    logprobs: list[Logprob] = Factory(list)
    """For each token, where asked: its log-probability, and the most probable tokens with theirs."""
    text: str = ""
    stopped_by: str = ""
    """The stop string that ended it, if one did."""
    finish: Finish | None = None
    """``None`` while it goes on."""
    tool: str | None = None
    """The tool that it calls."""
    error: str = ""
    retry_after_us: int | None = None
    """With ``REFUSED``: when to try again, if ever."""
    _over: threading.Event = Factory(threading.Event)

    def end(self, finish: Finish, error: str = "") -> None:
        """End it; the engine's to call."""
        self.finish = finish
        self.error = error
        self._over.set()
        if self.request.on_end is not None:
            self.request.on_end(self)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait in another thread than the engine's until it ends; return whether it did in time."""
        return self._over.wait(timeout_s)
