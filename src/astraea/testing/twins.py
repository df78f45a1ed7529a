"""Runs a stream twice: as it was (INV-7), with another hash seed (INV-7), and with another unseen future (INV-9).

Run as a module, it is the other process: it walks from some seeds and prints a line of digests for each.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import zip_longest

from attrs import frozen

from astraea.testing.adapter import Factory, Step
from astraea.testing.moves import Move
from astraea.testing.run import Call, Run, play
from astraea.testing.walk import walk

__all__ = ["Difference", "digests", "other_future", "other_hash_seed", "parted", "reference", "same_again"]

_SECONDS_MAX = 300


@frozen(slots=True)
class Difference:
    """Where two runs part."""

    sentence: str
    at: int
    """How many calls they have in common."""


def same_again(factory: Factory, moves: Iterable[Move], run: Run) -> Difference | None:
    """Repeat a run, and return where the repetition differs."""
    return _difference(run, play(factory, moves), len(run.calls), "the same call has had another answer")


def other_future(factory: Factory, moves: Iterable[Move], run: Run) -> Difference | None:
    """Change what is unseen half way through a run, repeat it, and return where it differs before that moment."""
    half = len(run.calls) // 2
    produced = _produced(run.calls[:half])
    ended = {name for call in run.calls[:half] if isinstance(call.answer, Step) for name in call.answer.finished}
    lengths: dict[str, int] = {}
    for name, life in run.watch.lives.items():
        request, told = life.request, produced.get(name, 0)
        if name not in ended and told < request.max_output_tokens:
            was = request.future.output_tokens
            lengths[name] = told + 1 if was != told + 1 else request.max_output_tokens
    if all(lengths[name] == run.watch.lives[name].request.future.output_tokens for name in lengths):
        return None
    changed = play(factory, moves, lengths)
    what = "only output lengths that have not come true were changed, and the answer is another"
    return _difference(run, changed, half, what)


def _produced(calls: Iterable[Call]) -> Mapping[str, int]:
    produced: dict[str, int] = {}
    for call in calls:
        if isinstance(call.answer, Step):
            for name, tokens in call.answer.ran.items():
                produced[name] = produced.get(name, 0) + tokens
    return produced


def _difference(run: Run, other: Run, upto: int, what: str) -> Difference | None:
    for at in range(upto):
        before, after = run.calls[at], other.calls[at] if at < len(other.calls) else None
        if after is None or (before.answer, before.view) != (after.answer, after.view):
            told = "no call" if after is None else after.sentence
            return Difference(f"call {at + 1}: {what}: {told}", at + 1)
    return None


def digests(run: Run) -> list[str]:
    """Return a short digest of each answer and view, the same in every process."""
    return [hashlib.sha256(f"{call.sentence}|{_stable(call)}".encode()).hexdigest()[:8] for call in run.calls]


def parted(run: Run, others: list[str]) -> Difference | None:
    """Return where a run differs from one of which there are the digests only."""
    for at, (here, there) in enumerate(zip_longest(digests(run), others)):
        if here != there:
            return Difference(f"call {at + 1} has another answer in a process with another hash seed", at + 1)
    return None


def _stable(call: Call) -> str:
    """Return what is in a view as text, with mappings in the order of their keys."""
    if call.view is None:
        return ""
    view = call.view
    return f"{view.waiting}{view.running}{view.free_blocks}{sorted(view.held_blocks.items())}{view.cached_blocks}"


def reference(factory: Factory) -> str | None:
    """Return ``module:name`` by which another process finds the factory; ``None`` where it cannot."""
    module, name = getattr(factory, "__module__", None), getattr(factory, "__qualname__", "")
    if module is None or module == "__main__" or "<" in name or "." in name:
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}:{name}" if found is factory else None


def other_hash_seed(named: str, seeds: range, count: int) -> list[list[str]] | str:
    """Return the digests of each walk in a process with another hash seed, or why there are none."""
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "astraea.testing.twins", named]
    command += [str(number) for number in (seeds.start, seeds.stop, count)]
    done = subprocess.run(  # noqa: S603 - this module, with the name of a factory that is loaded here already
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return [line.split() for line in done.stdout.splitlines()]


def _main(named: str, start: str, stop: str, count: str) -> None:
    module, _, name = named.partition(":")
    factory: Factory = getattr(importlib.import_module(module), name)
    for seed in range(int(start), int(stop)):
        sys.stdout.write(" ".join(digests(walk(factory, seed, int(count)))) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
