"""A progress bar on standard error, for people only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["progress_bar"]

_LABELS = {"capacity": "capacity of the engine"}


@contextmanager
def progress_bar(*, wanted: bool, unit: str = "jobs") -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a callback for (stage, done, total) that draws a bar a stage, or ``None`` where no one would see it.

    ``unit``: what is counted.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(_LABELS.get(stage, stage), total=total)
            progress.update(tasks[stage], completed=done)

        yield tell
