"""What of the machine a person may name: number types, threads, and how a device is called."""

from __future__ import annotations

import platform

import torch

from astraea.errors import UsageError
from astraea.executor.model import LoadedModel

__all__ = ["device_words", "dtype_named", "use_threads"]

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def dtype_named(name: str | None) -> torch.dtype | None:
    """Return the number type of that name, ``None`` for none; :class:`UsageError` where there is no such type."""
    if name is None:
        return None
    if name not in _DTYPES:
        raise UsageError(f"the number type must be one of {', '.join(_DTYPES)}, not {name!r}")
    return _DTYPES[name]


def use_threads(threads: int | None) -> None:
    """Let torch compute in so many threads on the CPU; ``None`` leaves it as it is."""
    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"the number of threads must be at least 1, not {threads}")
    torch.set_num_threads(threads)


def device_words(loaded: LoadedModel) -> str:
    """Return on what a model runs, in which numbers and under which torch, in words."""
    threads = torch.get_num_threads()
    device = f"{platform.machine()} with {threads} thread{'s' if threads > 1 else ''}"
    if loaded.model.device.type == "cuda":
        device = torch.cuda.get_device_name(loaded.model.device)
    return f"{device}, {str(loaded.model.dtype).removeprefix('torch.')}, torch {torch.__version__}"
