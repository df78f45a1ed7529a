"""The command ``astraea``: simulate, look at traces, list what there is, measure."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = {"click", "matplotlib", "numpy", "rich", "typer"}


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 a check found something, 2 a mistake of the user."""
    try:
        from astraea.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _NEEDED:
            raise
        print(
            f'astraea: the command needs the package {error.name}: install it with pip install "astraea[cli]".',
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
