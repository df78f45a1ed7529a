"""The executor's tests on both ends of the range of ``transformers`` that ``pyproject.toml`` allows.

``python scripts/transformers_ends.py [--lowest]`` asks pip which releases there are, takes the lowest and the highest
in the range, and for each runs the tests that compare tokens and speeds in an environment of its own. That has the
release and what it needs, and everything else from the environment that runs this script, which is to be the one of
the README's test command. ``--lowest`` leaves out the highest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "transformers"
TESTS = (
    "test_attention.py", "test_checkpoint.py", "test_cli_bench_executor.py", "test_engine.py", "test_on_device.py",
    "test_schedules.py", "test_toy.py",
)  # fmt: skip
_LISTED = "Available versions:"


def allowed() -> SpecifierSet:
    """Return the range that ``pyproject.toml`` allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = map(Requirement, project["optional-dependencies"]["executor"])
    return next(one.specifier for one in wanted if one.name == PACKAGE)


def ends(listing: str, specifier: SpecifierSet) -> tuple[str, str]:
    """Return the lowest and the highest release in a range, from what ``pip index versions`` printed."""
    line = next((line for line in listing.splitlines() if line.startswith(_LISTED)), _LISTED)
    named = [name.strip() for name in line.removeprefix(_LISTED).split(",") if name.strip()]
    within = sorted(specifier.filter(named), key=Version)
    if not within:
        sys.exit(f"pip lists no release of {PACKAGE}{specifier}")
    return within[0], within[-1]


def environment(folder: Path, release: str) -> Path:
    """Make an environment with one release above the packages of this one; return its interpreter."""
    venv.create(folder, with_pip=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    below = Path(sysconfig.get_path("purelib", "venv", paths)) / "below.pth"
    below.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    python = Path(sysconfig.get_path("scripts", "venv", paths)) / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{PACKAGE}=={release}"], check=True)
    return python


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests on each end and return how many ends failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lowest", action="store_true", help="only the lowest release")
    options = parser.parse_args(arguments)
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", PACKAGE], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    lowest, highest = ends(listing, allowed())
    failed = 0
    for release in dict.fromkeys([lowest] if options.lowest else [lowest, highest]):
        with tempfile.TemporaryDirectory() as folder:
            python = environment(Path(folder), release)
            version = f"import {PACKAGE}; print({PACKAGE}.__version__)"
            found = subprocess.check_output([python, "-c", version], text=True).strip()
            print(f"{PACKAGE} {found}, of {lowest} to {highest}", flush=True)
            if found != release:
                sys.exit(f"the environment of {release} imports {found}")
            tests = [f"tests/executor/{name}" for name in TESTS]
            done = subprocess.run(
                [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False,
            )  # fmt: skip
            failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
