"""What is left of a job, of a tool wait, of an answer: estimates from completed work only.

Nothing that is claimed depends on an estimate, so each is allowed to be wrong; it is only kept integer, bounded in
memory and the same on every machine.

**Remaining service** R of a job from a turn on: engine time for its decode and all later prompts, plus its memory-time
over the pool, not counting what is missing of the prompt now. When a job ends, each of its turns adds ``log2 R`` to
nested cells (all; class; + service so far; + last tool; + turn index; + context size; in half-octave buckets). Service
so far comes first because work is heavy-tailed: who has been given much needs much more. An estimate starts with the
coarsest mean and is drawn to each finer one by its samples, ``p <- (sum + 5 p) / (n + 5)``: a geometric mean, shrunk
where little is known.

**Tool wait**: counts and sums of each tool's waits in half-octave buckets give ``E[rest | elapsed]``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from attrs import Factory, define

from astraea.policy.fixedpoint import exp2, half_octave, log2
from astraea.policy.limits import Limits
from astraea.policy.state import TurnRecord

__all__ = ["NestedMean", "Predictor", "WaitHistory"]

_CELLS_MAX = 65_536
_TOOLS_MAX = 4_096
_LEAST_US = 100


@define(slots=True)
class _Cell:
    count: int = 0
    total: int = 0


class NestedMean:
    """Means of integer samples in nested cells, shrunk from coarse to fine; new cells are not opened past a bound."""

    def __init__(self, shrinkage: int) -> None:
        self._shrinkage = shrinkage
        self._cells: dict[Hashable, _Cell] = {}

    def add(self, keys: Iterable[Hashable], sample: int) -> None:
        """Add a sample to each cell, coarse to fine."""
        cells = self._cells
        for key in keys:
            cell = cells.get(key)
            if cell is None:
                if len(cells) >= _CELLS_MAX:
                    return
                cell = cells[key] = _Cell()
            cell.count += 1
            cell.total += sample

    def estimate(self, keys: Iterable[Hashable], prior: int) -> int:
        """Return the estimate for a list of cells, coarse to fine; ``prior`` where nothing is known at all."""
        cells, weight, value, known = self._cells, self._shrinkage, prior, False
        for key in keys:
            cell = cells.get(key)
            if cell is None:
                break
            pull = weight if known else 0
            value = (cell.total + pull * value) // (cell.count + pull)
            known = True
        return value


@define(slots=True)
class WaitHistory:
    """The waits of one tool: how many and how long, in half-octave buckets."""

    counts: dict[int, int] = Factory(dict)
    sums_us: dict[int, int] = Factory(dict)
    longest_us: int = 0

    def add(self, wait_us: int) -> None:
        """Add one completed wait."""
        bucket = half_octave(wait_us + 1)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.sums_us[bucket] = self.sums_us.get(bucket, 0) + wait_us
        self.longest_us = max(self.longest_us, wait_us)

    def mean_us(self) -> int:
        """Return the mean wait; there is at least one."""
        return sum(self.sums_us.values()) // sum(self.counts.values())

    def rests_us(self) -> list[tuple[int, int]]:
        """Return ``(elapsed_us, E[rest | elapsed])`` at 0 and at the start of every bucket with waits, ascending.

        At the start of a bucket, all waits of that bucket and above are still possible. The rest at a time within a
        bucket is taken as at its start.
        """
        rests: list[tuple[int, int]] = []
        count, total = 0, 0
        for bucket in sorted(self.counts, reverse=True):
            count += self.counts[bucket]
            total += self.sums_us[bucket]
            start_us = _bucket_start(bucket)
            rests.append((start_us, max(0, total // count - start_us)))
        if rests[-1][0] > 0:
            rests.append((0, total // count))
        rests.reverse()
        return rests


def _bucket_start(bucket: int) -> int:
    """Return the least wait in the bucket: the smallest w with ``half_octave(w + 1) == bucket``."""
    square = 1 << bucket
    root = 1 << (bucket // 2)
    if root * root == square:
        return root - 1
    low, high = root, 2 * root
    while low < high:
        middle = (low + high) // 2
        if middle * middle >= square:
            high = middle
        else:
            low = middle + 1
    return low - 1


class Predictor:
    """Learns from ended turns, tools and jobs; estimates for live ones."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._remaining = NestedMean(limits.tuning.shrinkage)
        self._outputs = NestedMean(limits.tuning.shrinkage)
        self._grown_turns = 0
        self._grown_tokens = 0
        self._waits: dict[str, WaitHistory] = {}
        self._all_waits = WaitHistory()

    def remaining_us(self, index: int, compute_class: int, attained_us: int, context_tokens: int, tool: str) -> int:
        """Return R in microseconds for a turn: index in its job, class, service so far, prompt, the tool before."""
        keys = _remaining_keys(index, compute_class, attained_us, context_tokens, tool)
        estimate = self._remaining.estimate(keys, -1)
        if estimate >= 0:
            return exp2(estimate)
        limits = self._limits
        costs, tuning = limits.costs, limits.tuning
        service_ns = costs.prefill_ns_per_token * tuning.prior_remaining_tokens
        decode_ns = (costs.prefill_ns_per_token + costs.step_ns) * tuning.prior_output_tokens
        return (service_ns + context_tokens * decode_ns // limits.device_tokens) // 1000

    def output_tokens(self, compute_class: int, tool: str) -> int:
        """Return the expected output of a turn in tokens, at least 1."""
        keys = ("all", compute_class, (compute_class, tool))
        return max(1, self._outputs.estimate(keys, self._limits.tuning.prior_output_tokens))

    def growth_tokens(self) -> int:
        """Return by how much a context grows a turn, on average."""
        if not self._grown_turns:
            return self._limits.tuning.prior_output_tokens
        return self._grown_tokens // self._grown_turns

    def waits(self, tool: str) -> WaitHistory | None:
        """Return the history of a tool's waits, of all tools where this one is new, or ``None`` before any wait."""
        history = self._waits.get(tool)
        if history is not None:
            return history
        return self._all_waits if self._all_waits.counts else None

    def tool_wait_us(self, tool: str) -> int:
        """Return the mean wait of a tool."""
        history = self.waits(tool)
        return history.mean_us() if history else self._limits.tuning.prior_tool_wait_us

    def learn_turn(self, compute_class: int, tool: str, output_tokens: int, grown_tokens: int) -> None:
        """Learn from an ended turn: its output and by how much its context grew."""
        self._outputs.add(("all", compute_class, (compute_class, tool)), output_tokens)
        self._grown_turns += 1
        self._grown_tokens += grown_tokens

    def learn_wait(self, tool: str, wait_us: int) -> None:
        """Learn from a tool that returned."""
        self._all_waits.add(wait_us)
        history = self._waits.get(tool)
        if history is None:
            if len(self._waits) >= _TOOLS_MAX:
                return
            history = self._waits[tool] = WaitHistory()
        history.add(wait_us)

    def learn_job(self, records: list[TurnRecord]) -> None:
        """Learn from an ended job what was left at each of its turns."""
        for record, left_us in zip(reversed(records), self._left_us(records), strict=True):
            known = (record.index, record.compute_class, record.attained_us, record.context_tokens, record.tool)
            keys = _remaining_keys(*known)
            self._remaining.add(keys, log2(max(left_us, _LEAST_US)))

    def _left_us(self, records: list[TurnRecord]) -> Iterable[int]:
        """Yield R of each turn in microseconds, last turn first."""
        token_ns = self._limits.costs.prefill_ns_per_token
        decode_ns = token_ns + self._limits.costs.step_ns
        pool_tokens = self._limits.device_tokens
        later_ns, later_token_ns = 0, 0
        costs = self._limits.costs
        for record in reversed(records):
            output_ns = decode_ns * record.output_tokens
            memory_ns = (record.context_tokens * output_ns + later_token_ns) // pool_tokens
            own_ns = costs.decode_ns(record.context_tokens, record.output_tokens)
            yield (own_ns + later_ns + memory_ns) // 1000
            later_ns += token_ns * record.new_tokens + own_ns
            later_token_ns += record.context_tokens * (token_ns * record.new_tokens + output_ns)


def _remaining_keys(
    index: int, compute_class: int, attained_us: int, context_tokens: int, tool: str
) -> tuple[Hashable, ...]:
    attained = (compute_class, half_octave(attained_us // 1000 + 1))
    with_tool = (*attained, tool)
    with_turn = (*with_tool, half_octave(index + 1))
    return ("all", compute_class, attained, with_tool, with_turn, (*with_turn, half_octave(context_tokens)))
