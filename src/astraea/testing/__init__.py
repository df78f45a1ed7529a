"""The conformance kit: examines any scheduler of LLM requests against the claims that Astraea makes for its own.

An author writes an :class:`Adapter` of four methods, then asks::

    print(astraea.testing.examine(MyAdapter))

``docs/conformance.md`` has a whole adapter and says what each claim means for a scheduler that is not ours. The kit
searches with Hypothesis, which ``pip install 'astraea[testing]'`` brings; ``import astraea`` does not need it.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401 - said here, in one sentence, rather than by a file further down
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "astraea.testing searches with Hypothesis, which is not installed: pip install 'astraea[testing]'",
        name="hypothesis",
    ) from error

from astraea.testing.adapter import Adapter, Factory, Future, Request, Step, View
from astraea.testing.claims import CLAIMS
from astraea.testing.core import CoreAdapter
from astraea.testing.examine import examine
from astraea.testing.machine import conformance_machine
from astraea.testing.profiles import CI, NIGHT, Profile
from astraea.testing.report import Finding, Report, Verdict
from astraea.testing.run import Run, play
from astraea.testing.strategies import jobs, streams
from astraea.testing.walk import walk

__all__ = [
    "CI",
    "CLAIMS",
    "NIGHT",
    "Adapter",
    "CoreAdapter",
    "Factory",
    "Finding",
    "Future",
    "Profile",
    "Report",
    "Request",
    "Run",
    "Step",
    "Verdict",
    "View",
    "conformance_machine",
    "examine",
    "jobs",
    "play",
    "streams",
    "walk",
]
