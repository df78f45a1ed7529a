"""What an examination found, claim by claim: kept, broken with the calls that show it, or not judged and why."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen

from astraea.testing.claims import CLAIMS

__all__ = ["Finding", "Report", "Verdict"]


class Verdict(StrEnum):
    """What became of a claim."""

    KEPT = "kept"
    """Nothing was found against it: that is a search, and no proof."""
    BROKEN = "broken"
    NOT_JUDGED = "not judged"


@frozen(slots=True)
class Finding:
    """The verdict on one claim."""

    claim: str
    verdict: Verdict
    sentence: str
    """What breaks it, or how much was examined, or why it was not judged."""
    calls: tuple[str, ...] = ()
    """Where it is broken: the calls and answers that lead there, the last of which shows it."""

    def __str__(self) -> str:
        """Return the verdict and, where the claim is broken, the calls."""
        lines = [f"{self.claim:7} {self.verdict:10} {self.sentence}"]
        return "\n".join([*lines, *(f"            {call}" for call in self.calls)])


@frozen(slots=True)
class Report:
    """The verdicts on all claims that were asked for."""

    name: str
    findings: tuple[Finding, ...]
    runs: int
    calls: int

    def __getitem__(self, claim: str) -> Finding:
        """Return the finding on a claim."""
        return {finding.claim: finding for finding in self.findings}[claim]

    def _of(self, verdict: Verdict) -> Mapping[str, Finding]:
        return {finding.claim: finding for finding in self.findings if finding.verdict is verdict}

    @property
    def kept(self) -> Mapping[str, Finding]:
        """Return the claims against which nothing was found."""
        return self._of(Verdict.KEPT)

    @property
    def broken(self) -> Mapping[str, Finding]:
        """Return the claims that are broken, each with the calls that show it."""
        return self._of(Verdict.BROKEN)

    @property
    def not_judged(self) -> Mapping[str, Finding]:
        """Return the claims of which nothing can be said, each with the reason."""
        return self._of(Verdict.NOT_JUDGED)

    def __str__(self) -> str:
        """Return a line for each claim, with the calls below those that are broken."""
        head = f"{self.name}: {len(self.kept)} kept, {len(self.broken)} broken, {len(self.not_judged)} not judged"
        return "\n".join([f"{head} ({self.runs} runs, {self.calls} calls)", *map(str, self.findings)])

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        findings = [
            {
                "claim": finding.claim,
                "asks": CLAIMS[finding.claim],
                "verdict": finding.verdict.value,
                "sentence": finding.sentence,
                "calls": list(finding.calls),
            }
            for finding in self.findings
        ]
        return {"name": self.name, "runs": self.runs, "calls": self.calls, "findings": findings}
