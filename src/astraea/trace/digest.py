"""The digest of a run: a fingerprint of what was decided, whatever the number of steps a driver runs at a time.

Two runs have the same digest when the same decisions were made at the same times and the same steps were executed
between them. What depends on the step size alone is left out: ``batch_id``, ``max_steps`` and the reason of a
``RunBatch``. What is hashed, in this order, one line each:

* for each executed step the ``[turn_id, tokens]`` pairs of its chunks. Steps count when ``BatchDone`` reports them, and
  equal steps in a row are one line with their count, across batches;
* for each other decision, and each ``Dispatch`` of a ``RunBatch``, its canonical JSON with the time of the ``decide``.
  What is decided while a batch is owed counts after that batch's steps: how many of them were reported before is the
  step size again.

A batch that is overdue has no steps: its turns failed, and its late report changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from astraea.decisions import Chunk, Decision, RunBatch
from astraea.events import BatchDone, BatchOverdue, Event
from astraea.trace.codec import canonical_json, decision_to_json
from astraea.trace.forms import chunks_to_json

__all__ = ["DIGEST_KIND", "RunDigest"]

DIGEST_KIND = "sha256-steps-1"
"""Name of the rule above; a change of the rule changes the name."""


class RunDigest:
    """Hashes a run while it goes on."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._owed: RunBatch | None = None
        self._chunks: tuple[Chunk, ...] = ()
        self._steps_line = ""
        """Text of ``_chunks``; empty before it is first needed."""
        self._counted_line = ""
        self._count = 0
        """Steps with the text ``_counted_line`` that are not hashed yet."""
        self._deferred: list[str] = []
        """What was decided while ``_owed`` is owed."""

    def decided(self, now_us: int, decisions: Iterable[Decision]) -> None:
        """Take in what one ``decide(now_us)`` returned."""
        deferred = self._deferred if self._owed is not None else None
        for decision in decisions:
            if type(decision) is not RunBatch:
                self._tell(now_us, decision_to_json(decision), deferred)
                continue
            if decision.dispatched:
                whole = decision_to_json(decision)
                for dispatch in whole["dispatched"]:
                    self._tell(now_us, {"decision": "Dispatch", **dispatch}, deferred)
            if decision.chunks is not self._chunks:
                self._chunks = decision.chunks
                self._steps_line = ""
            self._owed = decision

    def reported(self, event: Event) -> None:
        """Take in an event; only the reports of batches matter."""
        if type(event) is BatchDone:
            owed = self._owed
            if owed is not None and owed.batch_id == event.batch_id:
                self._owed = None
                self._count_steps(event.steps)
                self._release()
        elif type(event) is BatchOverdue:
            self._owed = None
            self._release()

    def hexdigest(self) -> str:
        """Return the digest of the run so far; the run may go on."""
        so_far = self._hash.copy()
        for line in [*self._pending(), *self._deferred]:
            so_far.update(line.encode())
        return so_far.hexdigest()

    def _tell(self, now_us: int, record: dict[str, object], deferred: list[str] | None) -> None:
        line = canonical_json({"decided_us": now_us, **record}) + "\n"
        if deferred is None:
            self._write(line)
        else:
            deferred.append(line)

    def _count_steps(self, steps: int) -> None:
        if not steps:
            return
        if not self._steps_line:
            self._steps_line = canonical_json(chunks_to_json(self._chunks))
        if self._steps_line != self._counted_line:
            self._flush()
            self._counted_line = self._steps_line
        self._count += steps

    def _release(self) -> None:
        for line in self._deferred:
            self._write(line)
        self._deferred.clear()

    def _write(self, line: str) -> None:
        self._flush()
        self._hash.update(line.encode())

    def _flush(self) -> None:
        for line in self._pending():
            self._hash.update(line.encode())
        self._count = 0

    def _pending(self) -> list[str]:
        return [f'{{"steps":{self._count},"chunks":{self._counted_line}}}\n'] if self._count else []
