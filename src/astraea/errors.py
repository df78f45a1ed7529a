"""What can go wrong, by who must mend it.

* :class:`ContractError`: the driver broke the rules of :mod:`astraea.events`; nothing has changed.
* :class:`InvariantError`: Astraea broke one of its own claims; stop admitting and keep the trace.
* :class:`TraceError`: a recorded trace cannot be read; carries the line.
* :class:`UsageError`: a person asked for something that cannot be done; one sentence, exit code 2.
* :class:`ModelError`: one of these: the model that was asked for cannot be had or cannot be run.

A client's impossible request is none of these: it is a :class:`astraea.decisions.Refuse`.
"""

from __future__ import annotations

__all__ = ["AstraeaError", "ContractError", "InvariantError", "ModelError", "TraceError", "UsageError"]


class AstraeaError(Exception):
    """Is the base of every error that Astraea raises on purpose."""


class ContractError(AstraeaError):
    """Is raised by ``handle`` when an event is not legal now; the scheduler is unchanged."""

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        """Short name of the broken rule, e.g. ``unknown-turn``."""


class InvariantError(AstraeaError):
    """Is raised when one of the claims INV-1 .. INV-10 or LIVE-1 .. LIVE-4 is found broken."""

    def __init__(self, claim: str, sentence: str) -> None:
        super().__init__(f"{claim}: {sentence}")
        self.claim = claim
        """Id of the claim as ``specs/README.md`` lists it."""


class TraceError(AstraeaError):
    """Is raised when a trace or workload file cannot be read as what it says it is."""

    def __init__(self, source: str, line: int, sentence: str) -> None:
        super().__init__(f"{source}:{line}: {sentence}")
        self.source = source
        self.line = line


class UsageError(AstraeaError):
    """Is raised when a person's request cannot be carried out; its text is one clear sentence."""


class ModelError(UsageError):
    """Is raised for a model that is not there, is stored in a form that is refused, or is of no known family."""
