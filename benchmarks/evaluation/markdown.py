"""Tables and numbers as the page writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["percent", "ratio", "seconds", "table"]


def seconds(value: float | None) -> str:
    """Return seconds with three digits at least, or nothing where there is no value."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def ratio(value: float | None) -> str:
    """Return a ratio with three decimals."""
    return "" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return "" if value is None else f"{value:.1%}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> list[str]:
    """Return the lines of a table and an empty one after it; the first ``texts`` columns are left-aligned.

    Without a row it is one sentence that says so.
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ["Nothing was run for this table.", ""]
    rule = [*["---"] * texts, *["---:"] * (len(headers) - texts)]
    return [f"| {' | '.join(headers)} |", f"| {' | '.join(rule)} |", *lines, ""]
