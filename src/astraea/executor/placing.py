"""Numbers on their way to the device, which is not waited for: it may be computing something else meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["placed", "settle"]


def placed(numbers: Sequence[float], device: torch.device, dtype: torch.dtype = torch.long) -> torch.Tensor:
    """Return a vector of numbers on a device.

    From memory that is not pinned, a copy to CUDA would begin only when all that was asked before is computed.
    """
    held = torch.tensor(numbers, dtype=dtype)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)


def settle(device: torch.device) -> None:
    """Wait until a device has computed all that it was asked."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
