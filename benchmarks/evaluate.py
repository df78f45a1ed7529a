"""Every policy against every other on all work, loads and host pools, and what each part of Astraea is worth.

    python benchmarks/evaluate.py --quick
    python benchmarks/evaluate.py --traces DIR --write docs/evaluation.md

Prints rows, or writes the page. Each run is kept in the folder of results under a name made of its content, the source
of the scheduler and the simulator included: a call that was cut short goes on where it stopped, a larger one reuses
what is there, and a changed policy is run anew. Runs go side by side, one process each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astraea.cli.progress import progress_bar
from astraea.errors import AstraeaError
from astraea.folders import cache_folder
from astraea.simulator.experiment import check_policies
from astraea.simulator.parallel import default_workers
from astraea.simulator.scenario import check_name
from evaluation.contenders import contenders
from evaluation.grid import HOSTS, LOADS, SECTIONS, Choice, Grid
from evaluation.markdown import ratio, seconds, table
from evaluation.page import Page
from evaluation.results import Results
from evaluation.rows import rows_of
from evaluation.running import Store, Told, answers
from evaluation.sustained import SUSTAINED_POLICIES, sustained_rates
from evaluation.works import settings_of

QUICK_WORKS = ("infercept-mix", "bfcl", "swebench")
QUICK_LOADS = (0.8, 0.95)
QUICK_LIMIT = 240


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options as they were given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="folder of .jsonl traces, each of which is replayed")
    parser.add_argument("--quick", action="store_true", help="one seed, two loads, three workloads: minutes")
    parser.add_argument("--jobs-limit", type=int, help="shrink every work: 600 is all of it, 60 a tenth")
    parser.add_argument(
        "--limit-of", type=_limits, default={}, metavar="SECTION=N,...", help="another limit for some sections"
    )
    parser.add_argument("--works", type=_names, help="with commas between; by default all")
    parser.add_argument("--policies", type=_names, default=list(contenders()), help="with commas between")
    parser.add_argument("--loads", type=_numbers, default=list(LOADS), help="with commas between")
    parser.add_argument("--hosts", type=_numbers, default=list(HOSTS), help="host pools beside none")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sections", type=_names, default=list(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes, by default one a core")
    parser.add_argument("--out", type=Path, default=cache_folder() / "evaluation", help="folder of results")
    parser.add_argument("--known", action="store_true", help="run nothing: what is not kept is left out")
    parser.add_argument("--count", action="store_true", help="run nothing: tell how many runs are known and to make")
    parser.add_argument("--write", type=Path, help="write the page to this file, and pictures to images/ beside it")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _names(text)]


def chosen(options: argparse.Namespace) -> Choice:
    """Return what the options ask for; :class:`~astraea.errors.UsageError` for what cannot be."""
    for section in options.sections:
        check_name("section", section, SECTIONS)
    for section in options.limit_of:
        check_name("section", section, SECTIONS)
    limits = {section: options.limit_of.get(section, options.jobs_limit) for section in SECTIONS}
    if options.quick:
        settings = settings_of(None, options.jobs_limit or QUICK_LIMIT, options.works or QUICK_WORKS)
        return Choice(
            settings=dict.fromkeys(SECTIONS, settings), loads=QUICK_LOADS, seeds=1,
            policies=check_policies(options.policies), sections=("loads",),
        )  # fmt: skip
    return Choice(
        settings={section: settings_of(options.traces, limit, options.works) for section, limit in limits.items()},
        loads=options.loads,
        hosts=options.hosts,
        seeds=options.seeds,
        policies=check_policies(options.policies),
        sections=options.sections,
    )


def _limits(text: str) -> dict[str, int]:
    """Return the limits by section; argparse tells what is wrong with another form."""
    return {section: int(limit) for section, _, limit in (pair.partition("=") for pair in _names(text))}


def command_of(arguments: list[str]) -> str:
    """Return the command line as the page shows it: what changes no figure is left out, a folder of traces is DIR."""
    shown = ["python benchmarks/evaluate.py"]
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name in {"--out", "--workers", "--traces"}:
            if not equals:
                next(rest, None)
            if name == "--traces":
                shown.append("--traces DIR")
        elif argument != "--known":
            shown.append(argument)
    return " ".join(shown)


@contextmanager
def _progress(*, wanted: bool) -> Iterator[Told | None]:
    """Draw a bar on a terminal; write a line at every hundredth where there is none."""
    with progress_bar(wanted=wanted, unit="runs") as drawn:
        yield drawn or (_lines() if wanted else None)


def _lines() -> Callable[[str, int, int], None]:
    began = time.monotonic()
    told: dict[str, int] = {}

    def tell(stage: str, done: int, total: int) -> None:
        part = 100 * done // total
        if told.get(stage) != part:
            told[stage] = part
            print(f"[{time.monotonic() - began:6.0f} s] {stage}: {done} of {total}", file=sys.stderr, flush=True)

    return tell


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, print and write."""
    options = parsed(arguments)
    try:
        return _evaluate(options, chosen(options), sys.argv[1:] if arguments is None else arguments)
    except AstraeaError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _evaluate(options: argparse.Namespace, choice: Choice, arguments: list[str]) -> int:
    grid, store = Grid(choice), Store(options.out)
    cells = grid.cells()
    if options.count:
        known = sum(store.known(cell) is not None for cell in cells)
        print(f"{len(cells):,} runs, {known:,} of them known")
        return 0
    with _progress(wanted=True) as on_progress:
        found = answers(cells, store, workers=options.workers, on_progress=on_progress, is_made=not options.known)
        sustained = sustained_rates(
            grid.sustained, SUSTAINED_POLICIES, choice.seeds, store,
            workers=options.workers, on_progress=on_progress, is_made=not options.known,
        )  # fmt: skip
    results = Results(found, choice.seeds)
    # Where a place was run in full and smaller, the full runs are told.
    places = {(point.setting.work, point.load, point.host_kv): point for point in reversed(grid.judged)}
    rows = rows_of(results, reversed(places.values()), choice.policies)
    if options.write is not None:
        page = Page(results=results, grid=grid, sustained=sustained, command=command_of(arguments))
        page.write(options.write)
    if options.json:
        print(json.dumps({"rows": rows}, indent=1))
    elif options.write is None:
        print("\n".join(_table(rows)))
    return 0


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as a table for people."""
    return table(
        ["workload", "host", "load", "policy", "mean JCT, s", "p99 JCT, s", "to the best rival", "bypass"],
        [
            [
                str(row["workload"]), f"{row['host_kv']:g}", f"{row['load']:g}", str(row["policy"]),
                seconds(row["mean_jct_s"]), seconds(row["p99_jct_s"]), ratio(row["ratio_to_best_rival"]),
                f"{row['worst_bypass']:,}",
            ]
            for row in rows
        ],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
