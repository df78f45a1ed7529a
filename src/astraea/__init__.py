"""Astraea schedules LLM agents: the whole job, for the lowest mean job completion time, with a bounded tail.

Three verbs drive it::

    core = astraea.Scheduler(astraea.Limits(device_blocks=26_875))
    core.handle(event)
    decisions = core.decide(now_us)
    view = core.snapshot()

Events are in :mod:`astraea.events`, decisions in :mod:`astraea.decisions`; ``docs/embedding.md`` tells what a serving
stack must report and what it gets.
"""

from astraea.errors import AstraeaError, ContractError, InvariantError, TraceError, UsageError
from astraea.policy.core import Scheduler
from astraea.policy.limits import EngineCosts, Limits, Tuning

__all__ = [
    "AstraeaError",
    "ContractError",
    "EngineCosts",
    "InvariantError",
    "Limits",
    "Scheduler",
    "TraceError",
    "Tuning",
    "UsageError",
]
__version__ = "0.1.0"
