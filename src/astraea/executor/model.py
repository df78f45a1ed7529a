"""Which model runs: by name, from a folder or a hub, or the one that needs neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from attrs import frozen
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from astraea.errors import ModelError
from astraea.executor.checkpoint import describe, load_checkpoint
from astraea.executor.default_model import default_folder
from astraea.executor.hub import hub_snapshot
from astraea.executor.toy import TOY_NOTE, toy_model, toy_tokenizer

__all__ = ["LoadedModel", "load_model"]


@frozen
class LoadedModel:
    """A model that is ready to run: in evaluation mode and on its device."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    """``None`` where the folder holds none; such a model runs on token ids alone."""
    name: str
    """As it was asked for."""
    note: str
    """What it is, in words."""


def load_model(
    name: str = "default",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> LoadedModel:
    """Return the model ``name``: ``default``, ``toy``, a local folder, or a name on the hub.

    ``dtype``: ``None`` means as stored. ``revision`` is for hub names, ``seed`` for the toy's weights; ``on_progress``
    is told in words what takes long. Raises :class:`~astraea.errors.ModelError` for what cannot be had or run.
    """
    where = _device(device)
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    if name == "toy":
        model, tokenizer, note = toy_model(seed), toy_tokenizer(), TOY_NOTE.format(seed=seed)
    else:
        folder, what = _folder(name, revision, on_progress or (lambda _sentence: None))
        model, tokenizer = load_checkpoint(folder, name, dtype=dtype)
        note = f"{what}: {describe(model)}"
    torch.nn.Module.to(model, device=where, dtype=dtype)
    return LoadedModel(model, tokenizer, name, note)


def _folder(name: str, revision: str | None, on_progress: Callable[[str], None]) -> tuple[Path, str]:
    """Return where the model's files are, and what they are in words."""
    if name == "default":
        return default_folder(on_progress)
    path = Path(name).expanduser()
    if path.is_dir():
        return path, str(path)
    if path.is_file():
        raise ModelError(f"{name}: this is a file; a model is a folder with config.json and *.safetensors")
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: there is no such folder")
    on_progress(f"looking for {name} on the hub")
    return hub_snapshot(name, revision), f"{name} from the hub"


def _device(device: str | torch.device) -> torch.device:
    """Return the device, or raise where there is none of that name here."""
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"{device}: there is no such kind of device") from error
    if where.type not in {"cpu", "cuda"}:
        raise ModelError(f"{device}: models run on cpu and cuda alone")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"{device}: there is no CUDA device here")
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"{device}: the last CUDA device here is cuda:{torch.cuda.device_count() - 1}")
    return where
