"""Reads a model from a folder: safetensors only, and no code that comes with it is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from astraea.errors import ModelError
from astraea.executor.families import UnsupportedModelError, check_family

__all__ = ["describe", "load_checkpoint"]

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")


def load_checkpoint(
    folder: Path, name: str, *, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Return the model in ``folder`` in evaluation mode on the CPU, and its tokenizer where there is one.

    ``dtype``: ``None`` means as stored. Raises :class:`~astraea.errors.ModelError`, which speaks of ``name``.
    """
    _check_files(folder, name)
    with _told(name), _no_bars():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        _check_family(config, name)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        tokenizer = None
        if any((folder / file).is_file() for file in _TOKENIZER_FILES):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    assert isinstance(model, PreTrainedModel)
    assert tokenizer is None or isinstance(tokenizer, PreTrainedTokenizerBase)
    return model, tokenizer


def describe(model: PreTrainedModel) -> str:
    """Return what a model is in a few words: its family, its size and its type of number."""
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    return f"{model.config.model_type}, {millions:,.0f} million parameters, {str(model.dtype).removeprefix('torch.')}"


def _check_files(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name}: there is no config.json in {folder}")
    if any(folder.glob("*.safetensors")):
        return
    for pattern in _OTHER_WEIGHTS:
        for file in sorted(folder.glob(pattern)):
            raise ModelError(
                f"{name}: its weights are in {file.name}, and only safetensors are read: other forms can run code when "
                "they are opened or hold rounded weights; convert them with save_pretrained"
            )
    raise ModelError(f"{name}: there are no weights (*.safetensors) in {folder}")


def _check_family(config: PreTrainedConfig, name: str) -> None:
    try:
        check_family(config)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{name}: {error}") from error


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what the readers raise for a broken or foreign checkpoint into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{name}: the model cannot be read: {first}") from error


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars: a library does not print."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
