"""The options of every command that runs a real model, and the model that they ask for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from astraea.errors import UsageError

if TYPE_CHECKING:
    from astraea.executor.model import LoadedModel

__all__ = [
    "BatchTurns",
    "BlockTokens",
    "ContextTokens",
    "Device",
    "Dtype",
    "Model",
    "PoolTokens",
    "StepTokens",
    "Threads",
    "load",
    "tell",
]

_MODEL, _SIZES = "Model", "Sizes"

Model = Annotated[
    str,
    typer.Option(help="default, toy, a folder, or a name on the hub.", rich_help_panel=_MODEL),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 and so on.", rich_help_panel=_MODEL)]
Dtype = Annotated[
    str | None,
    typer.Option(help="bfloat16, float16, float32 or float64; as stored by default.", rich_help_panel=_MODEL),
]
Threads = Annotated[
    int | None, typer.Option(help="Threads on the CPU; by default what torch takes.", rich_help_panel=_MODEL)
]
PoolTokens = Annotated[
    int | None,
    typer.Option(help="KV tokens that the device pool holds: 16384, or the profile's.", rich_help_panel=_SIZES),
]
ContextTokens = Annotated[
    int | None,
    typer.Option(help="Longest prompt plus output of a turn: 2048, or the profile's.", rich_help_panel=_SIZES),
]
StepTokens = Annotated[
    int | None, typer.Option(help="Tokens computed in one step at most: 256, or the profile's.", rich_help_panel=_SIZES)
]
BatchTurns = Annotated[
    int | None, typer.Option(help="Turns in one batch at most: 32, or the profile's.", rich_help_panel=_SIZES)
]
BlockTokens = Annotated[
    int | None, typer.Option(help="Tokens of a KV block: 16, or the profile's.", rich_help_panel=_SIZES)
]


def load(model: str, device: str, dtype: str | None, threads: int | None) -> LoadedModel:
    """Return the model, with what takes long told on standard error; :class:`UsageError` for what cannot be had."""
    try:
        from astraea.executor.machine import dtype_named, use_threads
        from astraea.executor.model import load_model
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("astraea"):
            raise
        raise UsageError(
            f'running a model needs the package {error.name}: install it with pip install "astraea[executor]"'
        ) from error
    use_threads(threads)
    return load_model(model, device=device, dtype=dtype_named(dtype), on_progress=tell)


def tell(sentence: str) -> None:
    """Tell a person who waits what is going on."""
    if sys.stderr.isatty():
        print(f"astraea: {sentence}", file=sys.stderr)
