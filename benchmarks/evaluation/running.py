"""Answers are looked up or made: on all cores, one process a run, each kept as soon as it is there.

A call that was cut short goes on where it stopped: what is kept carries the name of its content, the source of the
scheduler and the simulator included, so that a changed policy is run anew and nothing else is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, Self, TypeVar

from astraea.errors import AstraeaError, ContractError, InvariantError, TraceError
from astraea.simulator.capacity import capacity_jobs_per_s
from astraea.simulator.driver import Simulation
from astraea.simulator.engine import limits_for
from astraea.simulator.jobs import JobSpec
from astraea.simulator.verdict import judge_seed, settled_jobs, slowdowns_of
from astraea.units import US_PER_S
from evaluation.cells import WARMUP_SHARE, Answer, Cell, key_of, setting_key
from evaluation.variants import make
from evaluation.works import Setting

__all__ = ["Runner", "Store", "Told", "answer", "answers", "drawn"]

_Found = TypeVar("_Found")
Told = Callable[[str, int, int], None]
"""Is told the stage, what is done and how much there is of it."""


class Store:
    """A folder of answers, one JSON file each; a file that is not whole counts as not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[str, object] | None:
        """Return a record, or ``None``."""
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def write(self, name: str, record: dict[str, object]) -> None:
        """Put a record in place whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{name}-{os.getpid()}"
        part.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
        part.replace(self.folder / f"{name}.json")

    def known(self, cell: Cell) -> Answer | None:
        """Return the answer of a cell, if it is kept and whole."""
        record = self.read(key_of(cell))
        try:
            return None if record is None else Answer.from_json(record)
        except (KeyError, TypeError, ValueError):
            return None


def answers(
    cells: Sequence[Cell], store: Store, *, workers: int, on_progress: Told | None = None, is_made: bool = True
) -> dict[Cell, Answer]:
    """Return the answers of the cells; those that are not kept are made, in the order given, unless not asked to.

    With one worker everything happens in this process. The first error ends it; what was made until then is kept.
    """
    tell = on_progress or (lambda _stage, _done, _total: None)
    found = {cell: known for cell in dict.fromkeys(cells) if (known := store.known(cell)) is not None}
    missing = [cell for cell in dict.fromkeys(cells) if cell not in found]
    if not is_made or not missing:
        return found
    settings = list(dict.fromkeys(cell.point.setting for cell in missing))
    with Runner(store.folder, workers) as runner:
        capacities = {}
        for setting, capacity in runner.each(_capacity, [(setting,) for setting in settings]):
            capacities[setting[0]] = capacity
            tell("capacity", len(capacities), len(settings))
        total = len(found) + len(missing)
        asked = [(cell, capacities[cell.point.setting]) for cell in missing]
        for (cell, _), made in runner.each(answer, asked):
            found[cell] = made
            tell("runs", len(found), total)
    return found


class Runner:
    """Calls functions of a module side by side; each takes the folder of answers as its last argument."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._pool = None if workers == 1 else ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        self._ahead = 2 * workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def each(
        self, work: Callable[..., _Found], questions: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], _Found]]:
        """Yield each question, which is a tuple of arguments, with its result as soon as it is there."""
        if self._pool is None:
            for question in questions:
                yield question, work(*question, self._folder)
            return
        rest = iter(questions)
        running: dict[Future[_Found], tuple[Any, ...]] = {}
        while True:
            for question in islice(rest, self._ahead - len(running)):
                running[self._pool.submit(work, *question, self._folder)] = question
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _capacity(setting: Setting, folder: Path) -> float:
    """Return the capacity for the jobs of seed 0."""
    store, name = Store(folder), f"capacity-{setting_key(setting)}"
    record = store.read(name)
    if record is not None and isinstance(capacity := record.get("jobs_per_s"), float):
        return capacity
    jobs = drawn(setting, 0)
    capacity = capacity_jobs_per_s(jobs, setting.profile(), host_ratio=setting.scenario.host_ratio)
    store.write(name, {"jobs_per_s": capacity})
    return capacity


@lru_cache(maxsize=4)
def drawn(setting: Setting, seed: int) -> list[JobSpec]:
    """Return the jobs of a seed; cells that follow each other mostly share them."""
    return setting.draw(seed)


def answer(cell: Cell, capacity_jobs_per_s: float, folder: Path) -> Answer:
    """Make one run, keep its answer and return it."""
    setting = cell.point.setting
    profile = setting.profile()
    rate = capacity_jobs_per_s * cell.point.load
    jobs = setting.scenario.arrive(drawn(setting, cell.seed), rate, cell.seed)
    policy, limits = make(cell.policy, limits_for(profile, setting.scenario.host_ratio))
    began = perf_counter()
    run = Simulation(jobs, profile, policy, limits)
    try:
        run.run(None, None)
    except (ContractError, InvariantError, TraceError) as error:
        # Errors of several parts do not survive the way between processes.
        raise AstraeaError(f"{cell.policy} on {setting.work}: {type(error).__name__}: {error}") from error
    result = run.result()
    settled = settled_jobs(result, WARMUP_SHARE)
    found = Answer(
        verdict=judge_seed(result, cell.seed, WARMUP_SHARE),
        jct_s=tuple(round(job.jct_us / US_PER_S, 3) for job in settled),
        slowdowns=tuple(round(slowdown, 4) for slowdown in slowdowns_of(settled)),
        wall_s=round(perf_counter() - began, 3),
    )
    Store(folder).write(key_of(cell), found.as_json())
    return found
