"""Prompts of the asked-for lengths, made of random tokens: what they say does not matter, what they share does."""

from __future__ import annotations

from random import Random

from astraea.events import TurnArrived

__all__ = ["Prompts"]


class Prompts:
    """The token ids of every context of a run; the same seed makes the same prompts around the same answers."""

    def __init__(self, vocabulary: int, seed: int) -> None:
        self._vocabulary = vocabulary
        self._seed = seed
        self._histories: dict[tuple[str, str], dict[str, list[int]]] = {}
        self._prefixes: dict[tuple[str, str], list[int]] = {}

    def prompt(self, turn: TurnArrived) -> list[int]:
        """Return a turn's prompt: just as much of its context's history as the turn says, and then new tokens."""
        history = self._histories.get((turn.tenant, turn.session_id), {}).get(turn.context_id, [])
        prompt = history[: min(turn.reusable_tokens, turn.context_tokens - 1)]
        shared = self._shared(turn)
        if len(prompt) < len(shared):
            prompt = shared[: turn.context_tokens]
        dice = Random(f"{self._seed}/{turn.tenant}/{turn.turn_id}")
        new = [dice.randrange(self._vocabulary) for _ in range(turn.context_tokens - len(prompt))]
        if new and len(prompt) < len(history) and new[0] == history[len(prompt)]:
            new[0] = (new[0] + 1) % self._vocabulary  # by chance it would share one token more
        return prompt + new

    def answered(self, turn: TurnArrived, tokens: list[int]) -> None:
        """Note what a turn's context holds after it: its prompt and its answer."""
        self._histories.setdefault((turn.tenant, turn.session_id), {})[turn.context_id] = tokens

    def forget(self, tenant: str, session_id: str) -> None:
        """Forget a session."""
        self._histories.pop((tenant, session_id), None)

    def _shared(self, turn: TurnArrived) -> list[int]:
        prefix = turn.shared_prefix
        if prefix is None:
            return []
        key = (turn.tenant, prefix.prefix_id)
        if key not in self._prefixes:
            dice = Random(f"{self._seed}/{turn.tenant}/prefix/{prefix.prefix_id}")
            self._prefixes[key] = [dice.randrange(self._vocabulary) for _ in range(prefix.tokens)]
        return self._prefixes[key]
