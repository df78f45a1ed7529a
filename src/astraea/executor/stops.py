"""The text of a turn as it comes, and where a stop string ends it.

Tokens are pieces of bytes: a letter may take several, so text is told once it is certain. What may be the beginning of
a stop string is held back until it is known not to be one.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

__all__ = ["TextStream"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Turns the tokens of one turn into text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._context = 0
        """Where the tokens begin that are decoded again with each new one, for what stands before changes a token."""
        self._told = 0
        """Tokens whose text is certain."""
        self._held = ""
        self.text = ""
        """What is certain and was told."""
        self.stopped_by = ""
        """The stop string that came."""

    def has_stopped(self) -> bool:
        """Return whether a stop string came."""
        return bool(self.stopped_by)

    def push(self, token: int) -> str:
        """Take one token; return the text that became certain, which may be empty."""
        self._ids.append(token)
        before = self._decode(self._context, self._told)
        after = self._decode(self._context, len(self._ids))
        if len(after) <= len(before) or after.endswith(_UNFINISHED):
            return ""
        self._context, self._told = self._told, len(self._ids)
        return self._certain(after[len(before) :])

    def finish(self) -> str:
        """Return what was still held back: no more tokens come."""
        if self.stopped_by:
            return ""
        before, after = self._decode(self._context, self._told), self._decode(self._context, len(self._ids))
        rest = self._certain(after[len(before) :])
        if not self.stopped_by:
            rest += self._held
            self.text += self._held
        self._held = ""
        return rest

    def _decode(self, begin: int, end: int) -> str:
        text = self._tokenizer.decode(self._ids[begin:end], skip_special_tokens=True)
        assert isinstance(text, str)
        return text

    def _certain(self, new: str) -> str:
        pending = self._held + new
        ends = [(at, stop) for stop in self._stops if (at := pending.find(stop)) >= 0]
        if ends:
            end, self.stopped_by = min(ends)
            pending, self._held = pending[:end], ""
        else:
            held = max((_overlap(pending, stop) for stop in self._stops), default=0)
            self._held = pending[len(pending) - held :]
            pending = pending[: len(pending) - held]
        self.text += pending
        return pending


def _overlap(text: str, stop: str) -> int:
    """Return how many last letters of ``text`` may be the beginning of ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
