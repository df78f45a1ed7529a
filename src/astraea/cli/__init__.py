"""The commands ``astraea``, to simulate, look at traces, list what there is and measure, and ``astraea-serve``."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["main", "serve_main"]

_CLI = {"click", "matplotlib", "numpy", "rich", "typer"}
_SERVE = {"click", "fastapi", "filelock", "gguf", "h11", "huggingface_hub", "numpy", "prometheus_client", "pydantic"}
_SERVE |= {"safetensors", "starlette", "structlog", "tokenizers", "torch", "transformers", "typer", "uvicorn"}


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 a check found something, 2 a mistake of the user."""

    def command() -> int:
        from astraea.cli.app import run

        return run(sys.argv[1:])

    _leave("astraea", "cli", _CLI, command)


def serve_main() -> None:
    """Serve and leave with an exit code: 0 told to stop, 1 the engine failed, 2 a mistake of the user."""

    def command() -> int:
        from astraea.cli.serve import run_serve

        return run_serve(sys.argv[1:])

    _leave("astraea-serve", "serve", _SERVE, command)


def _leave(name: str, extra: str, needed: set[str], command: Callable[[], int]) -> None:
    try:
        code = command()
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in needed:
            raise
        print(
            f'{name}: the command needs the package {missing}: install it with pip install "astraea[{extra}]".',
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)
