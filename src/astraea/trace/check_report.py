"""What a check says: what was judged, what was counted, and the first line that breaks a claim."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Breach", "CheckReport"]


@frozen(slots=True)
class Breach:
    """The first line of a trace that breaks a claim."""

    line: int
    claim: str
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.claim}: {self.sentence}"


@frozen(slots=True)
class CheckReport:
    """What was judged, and what was found, up to the first breach or the end."""

    policy: str
    guarded: bool
    claims: tuple[str, ...]
    """Ids of the claims that were judged."""
    breach: Breach | None
    complete: bool
    """Whether the trace has its end line; one without was cut short and is judged up to there."""
    events: int
    decides: int
    decisions: int
    jobs: int
    turns_admitted: int
    turns_ended: int
    turns_live: int
    turns_refused: int
    worst_bypass: int
    bypass_max: int
    worst_preemptions: int
    preemptions_max: int
    device_blocks_peak: int
    device_blocks: int
    host_blocks_peak: int
    host_blocks: int
    digest: str

    @property
    def ok(self) -> bool:
        """Whether no judged claim is broken."""
        return self.breach is None
