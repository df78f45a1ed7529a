"""The tests of this folder need CUDA; each has a twin in tests/executor that runs the same body on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "executor"))


@pytest.fixture
def cuda():
    """The device, or a reason to skip."""
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    return "cuda"
