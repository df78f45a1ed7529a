"""Reads a trace line by line, as data, with the line in every complaint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from astraea.errors import TraceError, UsageError
from astraea.trace.codec import parse_line
from astraea.trace.entries import EndEntry, Entry, LineParser

__all__ = ["LINE_BYTES_MAX", "TraceReader", "read_trace"]

LINE_BYTES_MAX = 64 << 20
"""A longer line is refused before it is parsed; a batch of 100,000 turns takes some 4 MiB."""


class TraceReader:
    """A trace file, iterable as often as needed; each iteration reads it anew.

    A file without an end line, or cut off inside its last line, is readable up to there: after the iteration
    ``truncated`` is true. Everything else that is wrong is a :class:`TraceError`.
    """

    def __init__(self, path: str | Path, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self.source = str(path)
        self.truncated = False
        """Whether the last iteration met no end line."""
        self._path = Path(path)
        self._line_bytes_max = line_bytes_max

    def __iter__(self) -> Iterator[Entry]:
        self.truncated = True
        parser = LineParser(self.source)
        with self._opened() as file:
            line = 0
            while raw := file.readline(self._line_bytes_max + 1):
                line += 1
                entry = self._entry(parser, raw, line)
                if entry is None:
                    return
                if isinstance(entry, EndEntry):
                    self.truncated = False
                yield entry
        if not line:
            raise TraceError(self.source, 1, "the file is empty")

    def _entry(self, parser: LineParser, raw: bytes, line: int) -> Entry | None:
        """Return a line's entry, or ``None`` where the file was cut off inside it."""
        if len(raw) > self._line_bytes_max:
            raise TraceError(self.source, line, f"the line is longer than {self._line_bytes_max} bytes")
        whole = raw.endswith(b"\n")
        try:
            record = parse_line(raw.decode(), source=self.source, line=line)
        except UnicodeDecodeError as error:
            if not whole and line > 1:
                return None
            raise TraceError(self.source, line, "the line is not UTF-8 text") from error
        except TraceError:
            if not whole and line > 1:
                return None
            raise
        return parser.entry(record, line)

    def _opened(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except FileNotFoundError as error:
            raise UsageError(f"{self.source}: there is no such trace") from error
        except OSError as error:
            raise UsageError(f"{self.source}: the trace cannot be read: {error.strerror}") from error


def read_trace(path: str | Path) -> TraceReader:
    """Return the entries of a trace file, read as they are asked for.

    Raises, while they are read, :class:`UsageError` where the file cannot be opened and :class:`TraceError` where it is
    no trace of this version.
    """
    return TraceReader(path)
