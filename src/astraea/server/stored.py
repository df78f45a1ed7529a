"""Answers that ``previous_response_id`` may name: each its tenant's own, so many and so long."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

__all__ = ["Stored", "StoredAnswers"]


@frozen
class Stored:
    """One answer, and the conversation up to it."""

    tenant: str
    session_id: str
    messages: Sequence[Mapping[str, Any]]
    answer: Mapping[str, object]
    """As the client got it."""
    stored_s: float


class StoredAnswers:
    """Answers by their ids, the oldest first."""

    def __init__(self, *, answers_max: int = 4_096, characters_max: int = 64 << 20, age_max_s: float = 3_600) -> None:
        """Keep at most so many, of so many characters of messages together, each so long."""
        self._answers_max = answers_max
        self._characters_max = characters_max
        self._age_max_s = age_max_s
        self._all: OrderedDict[str, Stored] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._all)

    def put(self, answer_id: str, stored: Stored) -> None:
        """Keep an answer; older ones go where there are too many."""
        self._all[answer_id] = stored
        self._characters += _characters(stored)
        while self._all and (
            len(self._all) > self._answers_max
            or self._characters > self._characters_max
            or stored.stored_s - next(iter(self._all.values())).stored_s > self._age_max_s
        ):
            self.drop(next(iter(self._all)))

    def get(self, tenant: str, answer_id: str, now_s: float) -> Stored | None:
        """Return a tenant's answer; another tenant's is not there."""
        stored = self._all.get(answer_id)
        if stored is None or stored.tenant != tenant or now_s - stored.stored_s > self._age_max_s:
            return None
        return stored

    def drop(self, answer_id: str) -> None:
        """Forget an answer."""
        self._characters -= _characters(self._all.pop(answer_id))


def _characters(stored: Stored) -> int:
    # Histories share their messages, so this counts more than is held, and the bound is kept.
    return sum(len(str(message.get("content", ""))) + sys.getsizeof(message) for message in stored.messages)
