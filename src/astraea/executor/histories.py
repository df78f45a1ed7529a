"""What each context's KV was computed from, so that a new prompt is compared with it and nobody has to be believed."""

from __future__ import annotations

from collections.abc import Sequence

from astraea.events import SharedPrefix
from astraea.executor.prefix_index import PrefixIndex

__all__ = ["Histories", "common_tokens"]


class Histories:
    """The token ids of the contexts of open sessions, as of their last turn that ran."""

    def __init__(self, block_tokens: int) -> None:
        self._index = PrefixIndex(block_tokens)
        self._sessions: dict[tuple[str, str], dict[str, list[int]]] = {}

    def compare(
        self, context: tuple[str, str, str], prompt: Sequence[int], declared_tokens: int | None
    ) -> tuple[int, SharedPrefix | None]:
        """Return how many tokens of a prompt its context held before, and which shared prefix a new context has."""
        tenant, session_id, context_id = context
        history = self._sessions.get((tenant, session_id), {}).get(context_id)
        if history is None:
            return 0, self._index.find(tenant, prompt, declared_tokens)
        return common_tokens(history, prompt), None

    def ran(self, context: tuple[str, str, str], tokens: list[int]) -> None:
        """Note what a turn's context was computed from."""
        tenant, session_id, context_id = context
        self._sessions.setdefault((tenant, session_id), {})[context_id] = tokens

    def close(self, tenant: str, session_id: str) -> None:
        """Forget a session."""
        self._sessions.pop((tenant, session_id), None)

    @property
    def sessions(self) -> int:
        """Sessions that are remembered."""
        return len(self._sessions)


def common_tokens(history: Sequence[int], prompt: Sequence[int]) -> int:
    """Return how many first tokens two sequences have in common."""
    length = min(len(history), len(prompt))
    if history[:length] == prompt[:length]:
        return length
    return next(i for i in range(length) if history[i] != prompt[i])
