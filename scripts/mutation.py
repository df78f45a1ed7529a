"""A seeded sample of small random changes to ``policy/``, by mutmut, and how many of them the tests notice.

``python scripts/mutation.py [--sample N] [--seed S] [--folder F]`` copies the tree to the folder, lets mutmut make
every mutant there, shuffles their names by the seed, tries the first N, and prints what came of them as Markdown,
survivors with the line that was changed; a run that was cut off goes on where it stopped. ``--table`` only prints. What
mutmut does is set in ``pyproject.toml``, the reasons for survivors stand in ``mutation_reasons.toml`` beside this file,
and ``specs/mutation.md`` has a table. Needs ``pip install mutmut==3.8.1``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("src", "tests", "specs", "examples", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md")
AT_ONCE = 200
"""Mutants that one call of mutmut tries."""
FIRST = "astraea.policy.passes.*"
"""What the first call tries, so that all mutants are made."""


def metas(folder: Path) -> dict[str, tuple[str, int | None]]:
    """Return the file and the exit code of each mutant by its name, in order; ``None`` where it was not tried."""
    found: dict[str, tuple[str, int | None]] = {}
    for path in sorted((folder / "mutants/src/astraea/policy").glob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        found |= {name: (path.name.removesuffix(".meta"), code) for name, code in codes.items()}
    return found


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in the folder with the tree's own sources and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"mutmut {arguments[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def chosen(folder: Path, sample: int, seed: int) -> list[str]:
    """Return the names of the sample, which a longer one begins with."""
    names = list(metas(folder))
    random.Random(seed).shuffle(names)
    return names[:sample]


def tried(folder: Path, sample: int, seed: int) -> None:
    """Copy the tree and try the sample, or what is left of it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for name in COPIED:
            path = ROOT / name
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / name)
        mutmut(folder, "run", "--max-children", "1", FIRST)
    names = chosen(folder, sample, seed)
    for start in range(0, len(names), AT_ONCE):
        known = metas(folder)
        left = [name for name in names[start : start + AT_ONCE] if known[name][1] is None]
        if left:
            mutmut(folder, "run", "--max-children", "1", *left)
            print(f"{min(start + AT_ONCE, len(names))} of {len(names)} tried", file=sys.stderr, flush=True)


def table(folder: Path, sample: int, seed: int) -> str:
    """Return what came of those of the sample that were tried."""
    from mutmut.stats import status_by_exit_code  # noqa: PLC0415 - the docstring is to be read without it

    known = metas(folder)
    names = [name for name in chosen(folder, sample, seed) if known[name][1] is not None]
    status = {name: status_by_exit_code[known[name][1]] for name in names}
    noticed = [name for name in names if status[name] in {"killed", "timeout", "segfault", "caught by type check"}]
    files, caught = Counter(known[name][0] for name in names), Counter(known[name][0] for name in noticed)
    score = f"{len(noticed)} of {len(names)} noticed, {100 * len(noticed) / max(1, len(names)):.1f} %"
    lines = [f"Sample of {len(names)} of {len(known)} mutants, seed {seed}: {score}.", "", "| file | noticed | of |"]
    lines += ["| --- | --- | --- |", *(f"| {file} | {caught[file]} | {files[file]} |" for file in sorted(files))]
    survivors = sorted(set(names) - set(noticed))
    reasons = tomllib.loads((ROOT / "scripts/mutation_reasons.toml").read_text(encoding="utf-8"))
    lines += ["", "| survivor | was | is | reason |", "| --- | --- | --- | --- |"] if survivors else []
    for name in survivors:
        was, now = changed(mutmut(folder, "show", name))
        reason = reasons.get(f"{was} => {now}", "")
        what = "" if status[name] == "survived" else f" ({status[name]})"
        lines.append(f"| {name.removeprefix('astraea.policy.')}{what} | `{was}` | `{now}` | {reason} |")
    return "\n".join(lines).replace("ǁ", ".").replace(".x.", ".") + "\n"


def changed(diff: str) -> tuple[str, str]:
    """Return the text that a diff takes out and the text that it puts in, without what is around them."""
    lines = diff.splitlines()
    was = " ".join(line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---"))
    now = " ".join(line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++"))
    return was.replace("|", "\\|"), now.replace("|", "\\|")


def main() -> None:
    """Read the options, try, and print."""
    parser = argparse.ArgumentParser(description="Try random mutants of policy/.")
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/mutation")
    parser.add_argument("--table", action="store_true", help="only print what is known")
    options = parser.parse_args()
    if not options.table:
        tried(options.folder, options.sample, options.seed)
    print(table(options.folder, options.sample, options.seed), end="")


if __name__ == "__main__":
    main()
