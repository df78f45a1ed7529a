"""Examines the schedulers of this folder with the kit, and prints what each keeps.

``python -m examples.conformance [--json] [--profile ci|night] [--only NAME,...] [--calls]``
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Sequence

from astraea import Limits, UsageError
from astraea.testing import CI, CLAIMS, NIGHT, CoreAdapter, Factory, Report, Verdict, examine

FACTORIES = {
    "astraea": "__main__:astraea",
    "plain-fcfs": "plain_fcfs:PlainFcfs",
    "paper-mlfq": "paper_mlfq:paper_mlfq",
    "transformers-fifo": "transformers_batching:fifo",
    "transformers-prefill-first": "transformers_batching:prefill_first",
}
"""Where each factory is found. A module is imported when it is asked for: the last two need transformers."""

MARKS = {Verdict.KEPT: "kept", Verdict.BROKEN: "**broken**", Verdict.NOT_JUDGED: "not judged"}


def astraea() -> CoreAdapter:
    """Return the adapter of Astraea's own scheduler, in a pool and with a bound that the search can reach."""
    return CoreAdapter(Limits(device_blocks=40, host_blocks=20, batch_turns_max=4, step_tokens_max=256, bypass_max=6))


def factory(name: str) -> Factory:
    """Return a factory by the name of its row."""
    module, _, attribute = FACTORIES[name].partition(":")
    found: Factory = getattr(importlib.import_module(f"examples.conformance.{module}"), attribute)
    return found


def reports(names: Sequence[str], *, night: bool) -> Iterator[Report]:
    """Examine one after the other; say on stderr which cannot be had here."""
    for name in names:
        try:
            made = factory(name)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        yield examine(made, profile=NIGHT if night else CI, name=name)


def table(found: Sequence[Report]) -> str:
    """Return a table in Markdown, a row for each claim."""
    lines = ["| claim | " + " | ".join(report.name for report in found) + " |"]
    lines.append("| --- |" + " --- |" * len(found))
    lines += [f"| {claim} | " + " | ".join(MARKS[report[claim].verdict] for report in found) + " |" for claim in CLAIMS]
    return "\n".join(lines)


def broken(report: Report, *, calls: bool) -> str:
    """Return what breaks its claims, and where asked for the calls that show it."""
    lines = []
    for finding in report.broken.values():
        lines.append(f"{report.name}, {finding.claim}: {finding.sentence}")
        lines += [f"    {call}" for call in finding.calls if calls]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Examine, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.conformance", description="Examine the schedulers here.")
    parser.add_argument("--json", action="store_true", help="print the whole reports as JSON")
    parser.add_argument("--calls", action="store_true", help="print the calls that break a claim")
    parser.add_argument("--profile", choices=["ci", "night"], default="ci", help="how far to search")
    parser.add_argument("--only", default=",".join(FACTORIES), help="names, with commas between")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",")
    unknown = [name for name in names if name not in FACTORIES]
    if unknown:
        raise UsageError(f"There is no scheduler {unknown[0]!r} here. The schedulers are {', '.join(FACTORIES)}.")
    found = list(reports(names, night=asked.profile == "night"))
    if asked.json:
        print(json.dumps([report.to_json() for report in found], indent=1))
        return 0
    print(table(found))
    for report in found:
        if report.broken:
            print(f"\n{broken(report, calls=asked.calls)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
