"""Writes a trace while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from astraea.decisions import Chunk, Decision, RunBatch
from astraea.errors import UsageError
from astraea.events import Event
from astraea.policy.limits import Limits
from astraea.policy.protocol import Blocking
from astraea.trace.codec import canonical_json, decision_to_json, event_to_json, limits_to_json
from astraea.trace.digest import DIGEST_KIND, RunDigest
from astraea.trace.entries import TRACE_VERSION

__all__ = ["Recorder", "TraceRecorder"]

_BUFFER_BYTES = 1 << 20


class Recorder(Protocol):
    """Is told what the scheduler is told and what it answers, in order."""

    def event(self, event: Event) -> None:
        """Note an event."""

    def decided(self, now_us: int, decisions: Sequence[Decision]) -> None:
        """Note a call of ``decide`` and what it returned."""


class TraceRecorder:
    """Records one run as NDJSON.

    Tell it every event that ``handle`` took (not one that it refused) and every ``decide``, in their order. Used as a
    context manager, it closes the trace; where the run ends in an exception the trace is left without an end line, so
    that readers know that it was cut short.
    """

    def __init__(
        self,
        target: str | Path | IO[str],
        limits: Limits,
        policy_name: str,
        *,
        guarded: bool = True,
        blocking: Blocking | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a trace in a new file, or in a text file that is open and stays open.

        Raises :class:`UsageError` where the file cannot be written.
        """
        self._owns_file = isinstance(target, str | Path)
        self._file = _opened(target) if isinstance(target, str | Path) else target
        self._digest = RunDigest()
        self._chunks: tuple[Chunk, ...] | None = None
        self._events = 0
        self._decisions = 0
        self._closed = False
        header: dict[str, Any] = {
            "astraea_trace": TRACE_VERSION,
            "policy": policy_name,
            "guarded": guarded,
            "digest": DIGEST_KIND,
            "limits": limits_to_json(limits),
        }
        if blocking is not None:
            header["blocking"] = str(blocking)
        if meta:
            header["meta"] = dict(meta)
        self._write(header)

    def event(self, event: Event) -> None:
        """Record an event that ``handle`` took."""
        self._events += 1
        self._digest.reported(event)
        self._write(event_to_json(event))

    def decided(self, now_us: int, decisions: Sequence[Decision]) -> None:
        """Record a call of ``decide`` and what it returned."""
        self._digest.decided(now_us, decisions)
        self._write({"decide": now_us})
        for decision in decisions:
            self._decisions += 1
            record = decision_to_json(decision)
            if isinstance(decision, RunBatch):
                if decision.chunks == self._chunks:
                    del record["chunks"]
                self._chunks = decision.chunks
            self._write(record)

    def hexdigest(self) -> str:
        """Return the digest of the run so far."""
        return self._digest.hexdigest()

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Write the end line and close the file, if the recorder opened it; a second call does nothing."""
        if self._closed:
            return
        end = {"digest": self.hexdigest(), "events": self._events, "decisions": self._decisions}
        self._write({"end": end})
        self.cut_off()

    def cut_off(self) -> None:
        """Close the file without an end line: the run did not come to its end."""
        self._closed = True
        if self._owns_file:
            self._file.close()
        else:
            self._file.flush()

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(canonical_json(record) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self.cut_off()


def _opened(path: str | Path) -> IO[str]:
    try:
        return Path(path).open("w", encoding="utf-8", newline="\n", buffering=_BUFFER_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: the trace cannot be written: {error.strerror}") from error
