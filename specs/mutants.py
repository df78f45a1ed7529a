"""Wrong variants of the code, each with the claim that it breaks and the check that must notice it.

``python -m specs.mutants [--json] [--quick] [--only NAME,...]`` reads ``mutants.toml``, applies each mutant to a copy
of the tree and runs its check there. Every check is first run on an unchanged copy, where it must pass. A mutant is
*killed* where the check then fails, *survived* where it passes, and *broken* where it could not be judged: its text
does not stand exactly once in its file, its check fails without it or does not run. Exits with 1 unless all are killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final

__all__ = ["Mutant", "Result", "check", "main", "mutants", "tried"]

ROOT: Final = Path(__file__).resolve().parent.parent
COPIED: Final = ("src", "tests", "specs", "examples", "pyproject.toml")
"""What the checks need of the tree."""
LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc")
TIMEOUT_S: Final = 60
"""For one check; the longest takes seconds. One that hangs is noticed: no check hangs on right code."""
WORKERS: Final = min(2, os.cpu_count() or 1)
FAILED: Final = 1
"""What pytest, and our own commands, exit with where something is not as it should be."""
_BROKEN: Final = "broken"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One wrong variant of the code."""

    name: str
    claim: str
    """The claim that it breaks, or the rule of ``docs/design.md`` section 6."""
    file: str
    find: str
    """Text that stands exactly once in the file."""
    replace: str
    check: str
    """A selection for pytest, or a command that begins with ``python``."""
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a mutant."""

    name: str
    claim: str
    verdict: str
    """``killed``, ``survived`` or ``broken``."""
    seconds: float
    why: str = ""
    """Why it is broken."""


def mutants(path: Path = ROOT / "specs" / "mutants.toml") -> list[Mutant]:
    """Return the mutants in their order; raise ``TypeError`` where one has other fields."""
    return [Mutant(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutants"]]


def tried(chosen: list[Mutant], root: Path = ROOT) -> Iterator[Result]:
    """Try each mutant in a copy of the tree and yield what became of it, in order."""
    with _copies(root) as copies, ThreadPoolExecutor(WORKERS) as pool:

        def run_in_copy(job: Callable[[Path], Any]) -> Any:  # noqa: ANN401 - whatever the job returns
            copy = copies.get()
            try:
                return job(copy)
            finally:
                copies.put(copy)

        checks = list(dict.fromkeys(mutant.check for mutant in chosen))
        unchanged = pool.map(lambda check: run_in_copy(lambda copy: _said(check, copy)), checks)
        fails = {check: why for check, (code, why) in zip(checks, unchanged, strict=True) if code}
        yield from pool.map(lambda mutant: run_in_copy(lambda copy: _judged(mutant, copy, fails)), chosen)


@contextmanager
def _copies(root: Path) -> Iterator[SimpleQueue[Path]]:
    """Lend one copy of the tree for each worker."""
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            copy = Path(folder) / str(number)
            for name in COPIED:
                source = root / name
                if source.is_dir():
                    shutil.copytree(source, copy / name, ignore=LEFT_OUT)
                elif source.exists():
                    shutil.copy(source, copy / name)
            copies.put(copy)
        yield copies


def _judged(mutant: Mutant, copy: Path, fails: dict[str, str]) -> Result:
    """Apply a mutant to a copy, run its check, and set the copy right again."""
    began = perf_counter()
    file = copy / mutant.file
    right = file.read_text(encoding="utf-8") if file.is_file() else ""
    times = right.count(mutant.find)
    if mutant.check in fails:
        verdict, why = _BROKEN, f"without the mutant its check fails: {fails[mutant.check]}"
    elif times != 1 or mutant.find == mutant.replace:
        verdict, why = _BROKEN, f"the text to replace stands {times} times in {mutant.file}"
    else:
        file.write_text(right.replace(mutant.find, mutant.replace), encoding="utf-8")
        try:
            code, why = _said(mutant.check, copy)
        finally:
            file.write_text(right, encoding="utf-8")
        verdict = {0: "survived", FAILED: "killed"}.get(code, _BROKEN)
    return Result(
        name=mutant.name, claim=mutant.claim, verdict=verdict, seconds=round(perf_counter() - began, 1),
        why=why if verdict == _BROKEN else "",
    )  # fmt: skip


def _said(check: str, copy: Path) -> tuple[int, str]:
    """Run a check in a copy; return its exit code, where a check that hangs has failed, and its last words."""
    words = shlex.split(check)
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
    command = [sys.executable, *words[1:]] if words[0] == "python" else [*pytest, *words]
    # Without bytecode, so that a file that is changed twice within a second is never mistaken for the one before.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy)]), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"took more than {TIMEOUT_S} s"
    return done.returncode, (done.stdout + done.stderr).strip()[-300:]


def check(*, quick: bool, tell: Callable[[str], None]) -> tuple[bool, dict[str, Any]]:
    """Try all mutants, or the quick ones; whether all are killed, and what ``specs.check`` reports of it."""
    results = _told([mutant for mutant in mutants() if mutant.quick or not quick], tell)
    killed = [result for result in results if result.verdict == "killed"]
    survivors = [result.name for result in results if result.verdict != "killed"]
    return not survivors, {"mutants": {"killed": len(killed), "total": len(results), "survivors": survivors}}


def _told(chosen: list[Mutant], tell: Callable[[str], None]) -> list[Result]:
    results = []
    for result in tried(chosen):
        results.append(result)
        tell(f"{result.verdict:16} {result.seconds:6.1f} s  {result.claim:8} {result.name}")
        if result.why:
            tell(result.why)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants and print what became of them."""
    parser = argparse.ArgumentParser(prog="python -m specs.mutants", description="Try wrong variants of the code.")
    parser.add_argument("--json", action="store_true", help="print JSON; what is done goes to standard error")
    parser.add_argument("--quick", action="store_true", help="only what takes seconds in all")
    parser.add_argument("--only", default="", metavar="NAME,...", help="only these")
    options = parser.parse_args(arguments)
    names = {name for name in options.only.split(",") if name}
    known = mutants()
    if unknown := names - {mutant.name for mutant in known}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [m for m in known if (m.name in names if names else m.quick or not options.quick)]
    results = _told(chosen, lambda line: print(line, file=sys.stderr if options.json else sys.stdout, flush=True))
    killed = sum(result.verdict == "killed" for result in results)
    if options.json:
        ok = killed == len(results)
        print(json.dumps({"ok": ok, "mutants": [asdict(result) for result in results]}, indent=2))
    else:
        print(f"{killed} of {len(results)} mutants killed")
    return 0 if killed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
