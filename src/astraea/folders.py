"""Where Astraea keeps on disk what would cost time to make again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "model_folder"]


def cache_folder() -> Path:
    """Return where results are kept: ``ASTRAEA_CACHE_DIR``, or ``astraea`` in the user's cache folder."""
    own = os.environ.get("ASTRAEA_CACHE_DIR")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "astraea"


def model_folder() -> Path:
    """Return where converted models are kept: ``ASTRAEA_MODEL_DIR``, or ``models`` in the cache folder."""
    own = os.environ.get("ASTRAEA_MODEL_DIR")
    return Path(own) if own else cache_folder() / "models"
