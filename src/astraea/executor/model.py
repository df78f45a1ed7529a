"""Which model runs: by name, from a folder or a hub, or the one that needs neither."""

from __future__ import annotations

import torch
from attrs import frozen
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from astraea.errors import UsageError
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
    seed: int = 0,
) -> LoadedModel:
    """Return the model ``name``: ``default``, ``toy``, a local folder, or a name on the hub.

    ``dtype``: ``None`` means as stored. ``seed`` is for the toy's weights.
    Raises :class:`~astraea.errors.UsageError` for what cannot be loaded.
    """
    if name == "toy":
        model, tokenizer = toy_model(seed), toy_tokenizer()
        note = TOY_NOTE.format(seed=seed)
    else:
        raise UsageError(f"{name}: there is no such model")
    torch.nn.Module.to(model, device=torch.device(device), dtype=dtype)
    return LoadedModel(model, tokenizer, name, note)
