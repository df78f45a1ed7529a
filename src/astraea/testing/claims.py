"""The claims that the kit judges, and what each asks of any scheduler. The ids are those of ``specs/README.md``."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CALLS", "CLAIMS", "PATIENCE_STEPS"]

PATIENCE_STEPS = 16
"""So many steps in a row without work, nothing owed, are a deadlock."""

CALLS = "CALLS"

CLAIMS: Mapping[str, str] = {
    CALLS: "every legal call is answered, and none raises",
    "INV-1": "free, held and cached blocks add up to the pool; who has ended holds none",
    "INV-2": "every live request waits or runs, and each move between the two is told by a step",
    "INV-4": "every admitted request ends once, with each token told once, and nothing is told of it afterwards",
    "INV-5": "no request is admitted whose prompt and maximum output exceed the pool",
    "INV-6": "no step is without work while a request waits, unless something is owed",
    "INV-7": "the same calls have the same answers, in this process and in one with another hash seed",
    "INV-9": "output lengths that have not come true yet change no answer",
    "LIVE-1": "how often a job is passed by later ones is bounded, however long the stream of later ones",
    "LIVE-2": f"requests that wait are not left without work for {PATIENCE_STEPS} steps in a row",
    "LIVE-4": "once nothing more arrives, every admitted request ends",
}
"""Claim by id. INV-3, INV-8, INV-10 and LIVE-3 speak of things that no adapter is asked to tell."""
