"""Plain words for reasons, numbers and times."""

from __future__ import annotations

from astraea.decisions import Because, Reason
from astraea.events import Outcome, TurnOutcome
from astraea.units import US_PER_S

__all__ = ["because_in_words", "numbers_in_words", "outcome_in_words", "reason_in_words", "seconds"]

_WORDS = {
    Reason.RANKED: "it came first in the policy's order among what may run",
    Reason.PROMOTED: "its job had been bypassed as often as the bound allows, so it went before all others",
    Reason.STEADY: "the batch went on as it was",
    Reason.CHANGED: "the batch changed",
    Reason.GROWTH: "a running turn needed its next block",
    Reason.DEMAND: "another turn needed the room",
    Reason.HOST_ROOM: "the host pool needed room for another copy",
    Reason.STALE: "the client edited its history, so these tokens were no longer a prefix",
    Reason.ENDED: "its session, job or turn ended",
    Reason.NEVER_FITS: "prompt and output together exceed the usable pool",
    Reason.QUEUE_FULL: "as many turns as allowed are live already",
    Reason.TENANT_QUEUE_FULL: "as many turns of its tenant as allowed are live already",
    Reason.TENANT_KV_FULL: "it alone exceeds what its tenant may hold",
    Reason.DRAINING: "the scheduler admits nothing more",
    Reason.NO_ROOM: "too few blocks were free or could be evicted for it",
    Reason.HEADROOM: "a start must leave room for the growth of the jobs at work",
    Reason.BLOCKED_START: "a start of higher rank was blocked, and starts keep their order",
    Reason.RESERVED: "the free blocks were reserved for a turn before it",
    Reason.BATCH_FULL: "the batch was full",
    Reason.BEHIND_PROMOTED: "a job that had reached the bypass bound was waiting",
    Reason.PREFIX_FILLING: "another turn was computing their shared prefix",
    Reason.COPYING: "a copy between device and host had to end first",
    Reason.TENANT_KV: "its tenant's running turns held as many blocks as allowed",
    Reason.SCAN_LIMIT: "enough blocked turns had been looked at for one decision",
    Reason.RE_JUDGE: "a kept cache was to be judged again",
}

_ENDS = {
    Outcome.FINAL: "ended with a final answer",
    Outcome.LENGTH: "ended because it produced as many tokens as it may",
    Outcome.FAILED: "ended because the engine could not run it",
}


def reason_in_words(reason: Reason) -> str:
    """Return a reason as half a sentence."""
    return _WORDS[reason]


def numbers_in_words(numbers: tuple[tuple[str, int], ...]) -> str:
    """Return the compared numbers by their names; times, whose names end in ``_us``, in seconds."""
    return ", ".join(
        f"{name.removesuffix('_us').replace('_', ' ')} {seconds(value) if name.endswith('_us') else f'{value:,}'}"
        for name, value in numbers
    )


def because_in_words(because: Because) -> str:
    """Return the reason of a decision with its numbers."""
    numbers = numbers_in_words(because.numbers)
    return f"{reason_in_words(because.reason)} ({numbers})" if numbers else reason_in_words(because.reason)


def seconds(time_us: int) -> str:
    """Return microseconds as seconds, exactly: ``1.5 s``."""
    sign, time_us = ("-", -time_us) if time_us < 0 else ("", time_us)
    whole, part = divmod(time_us, US_PER_S)
    digits = f"{part:06d}".rstrip("0")
    return f"{sign}{whole:,}.{digits} s" if digits else f"{sign}{whole:,} s"


def outcome_in_words(outcome: TurnOutcome) -> str:
    """Return how a turn ended, as the end of a sentence about it."""
    if outcome.outcome is Outcome.TOOL_CALL:
        return f"ended in a call of the tool {outcome.tool!r}"
    return _ENDS[outcome.outcome]
