"""Workloads by name: seeded jobs drawn from published figures.

Each generator's file names its source, how the figures are drawn, and what had to be assumed. The first jobs of a
longer list are those of a shorter one with the same seed. No generator draws arrivals: they are the business of
:mod:`astraea.simulator.arrivals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from attrs import frozen

from astraea.errors import UsageError
from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.agents import bfcl, swebench
from astraea.simulator.workloads.augmented import calculator, infercept_mix
from astraea.simulator.workloads.chat import sharegpt_chat
from astraea.simulator.workloads.dice import Dice
from astraea.simulator.workloads.research import deep_research

__all__ = ["WORKLOADS", "Workload", "generate", "workload_names"]


@frozen(slots=True)
class Workload:
    """One entry of the registry."""

    summary: str
    """One line."""
    source: str
    """Where the figures come from."""
    draw: Callable[[str, int], Iterator[JobSpec]]
    """Yields jobs without end, named after the first argument, from the seed that is the second."""


WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "bfcl": Workload(
            "web-search agents: 6 turns, 2 s tools, contexts up to 131,072 tokens, very unequal",
            "Continuum (arXiv 2511.02230) Table 2, BFCL v4 web search",
            bfcl,
        ),
        "calculator": Workload(
            "math with a calculator: 5 turns, waits of microseconds, contexts near 1,400 tokens",
            "InferCept (ICML 2024, arXiv 2402.01869) Table 1, math",
            calculator,
        ),
        "deep-research": Workload(
            "research agents: waits of minutes, parallel sub-agents, one shared prefix, contexts up to 100,000 tokens",
            "assumed; no source publishes such jobs with measured waits",
            deep_research,
        ),
        "infercept-mix": Workload(
            "six kinds of augmented generation in equal shares: waits from microseconds to half a minute",
            "InferCept (ICML 2024, arXiv 2402.01869) Table 1",
            infercept_mix,
        ),
        "sharegpt-chat": Workload(
            "conversations: 6.7 calls of 256 prompt and 277 output tokens, human pauses of half a minute",
            "Autellix (arXiv 2502.13965), ShareGPT workload; pauses from InferCept Table 1, chatbot",
            sharegpt_chat,
        ),
        "swebench": Workload(
            "coding agents: 11 turns, short tools with a heavy tail, contexts that end near 70,000 tokens",
            "Continuum (arXiv 2511.02230) Table 2, SWE-bench with mini-swe-agent",
            swebench,
        ),
    }
)


def workload_names() -> tuple[str, ...]:
    """Return the names of the workloads, sorted."""
    return tuple(sorted(WORKLOADS))


def generate(name: str, jobs: int, seed: int) -> list[JobSpec]:
    """Return ``jobs`` jobs of a workload; the same name and seed give the same jobs everywhere.

    Raises :class:`UsageError` for an unknown name, fewer than one job, or a negative seed.
    """
    if name not in WORKLOADS:
        raise UsageError(f"unknown workload {name!r}: name one of {', '.join(workload_names())}")
    if jobs < 1:
        raise UsageError(f"the number of jobs must be at least 1, not {jobs}")
    Dice(seed)  # refuses a bad seed before the first job is asked for
    return list(islice(WORKLOADS[name].draw(name, seed), jobs))
