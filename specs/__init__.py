"""The specification: the claims, the two machines page by page, and what is proved without running the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Claim", "Claims", "Formula"]

Formula = Any
"""A formula of z3, which has no types."""
Claim = Callable[[], Formula]
Claims = dict[str, tuple[Claim, dict[str, Claim]]]
"""Claims by name, and beside each the wrong ones that have to be refuted."""
