"""How the next token is drawn from the logits: one row a turn, and nothing of a row depends on its neighbours.

Greedy rows are one ``max`` over all. A drawn row takes one uniform number from its own generator and looks it up in the
cumulative probabilities, so all rows are drawn by the same few tensor operations, and a turn draws the same tokens for
its seed whatever else is in the batch. Penalties are the one thing that is done row by row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TypeAlias

import torch
from attrs import define, frozen

from astraea.errors import UsageError
from astraea.executor.placing import placed

__all__ = ["Drawn", "Logprob", "SamplerState", "Sampling", "Told", "draw"]

Logprob: TypeAlias = tuple[float, tuple[tuple[int, float], ...]]
"""The log-probability of a token, and the most probable tokens with theirs."""
_SEEDS = 1 << 64


@frozen(slots=True, kw_only=True)
class Sampling:
    """What a client may ask of the sampling of one turn; the defaults are greedy."""

    temperature: float = 0.0
    """0 takes the most probable token."""
    top_k: int = 0
    """Only so many of the most probable tokens; 0 for all."""
    top_p: float = 1.0
    """Only the most probable tokens that together reach this probability."""
    min_p: float = 0.0
    """Only tokens at least so probable, relative to the most probable one."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens that were in the prompt or the output (multiplies negative ones)."""
    presence_penalty: float = 0.0
    """Taken off the logits of tokens that were in the output."""
    frequency_penalty: float = 0.0
    """Taken off once for each time that a token was in the output."""
    seed: int | None = None
    """Seed of the turn's own generator; ``None`` for one that cannot be repeated."""
    logprobs: int | None = None
    """How many of the most probable tokens to tell with each, before penalties and temperature; ``None`` for none."""

    def __attrs_post_init__(self) -> None:
        """Raise :class:`UsageError` for what cannot be sampled from."""
        finite = math.isfinite
        for name, is_right, what in (
            ("temperature", finite(self.temperature) and self.temperature >= 0, "0 or positive"),
            ("top_k", self.top_k >= 0, "0 or positive"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and up to 1"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
            ("repetition_penalty", finite(self.repetition_penalty) and self.repetition_penalty > 0, "positive"),
            ("presence_penalty", finite(self.presence_penalty), "finite"),
            ("frequency_penalty", finite(self.frequency_penalty), "finite"),
            ("logprobs", self.logprobs is None or self.logprobs >= 0, "0 or positive"),
            ("seed", self.seed is None or 0 <= self.seed < _SEEDS, "a natural number of 64 bits"),
        ):
            if not is_right:
                raise UsageError(f"{name} {getattr(self, name)} is not {what}")

    @property
    def penalises(self) -> bool:
        """Whether tokens that were there before count less."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0

    @property
    def plain(self) -> bool:
        """Whether the largest logit decides, and nothing else is asked."""
        return self.temperature == 0 and not self.penalises and self.logprobs is None


@define(eq=False)
class SamplerState:
    """What the sampling of one turn remembers; it outlives preemptions."""

    sampling: Sampling
    plain: bool
    generator: torch.Generator | None = None
    counts: torch.Tensor | None = None
    """``[vocabulary]``: how often each token was in the output."""
    prompt: torch.Tensor | None = None
    """``[vocabulary]``: whether each token was in the prompt."""
    barred: tuple[int, ...] = ()
    """Tokens that are not drawn for the next ``barred_draws`` draws."""
    barred_draws: int = 0

    @classmethod
    def begin(cls, sampling: Sampling, prompt: Sequence[int], vocabulary: int, device: torch.device) -> SamplerState:
        """Return the state before the first token."""
        state = cls(sampling, sampling.plain)
        if sampling.temperature > 0:
            state.generator = torch.Generator()
            if sampling.seed is None:
                state.generator.seed()
            else:
                state.generator.manual_seed(sampling.seed)
        if sampling.penalises:
            state.counts = torch.zeros(vocabulary, device=device)
            state.prompt = torch.zeros(vocabulary, dtype=torch.bool, device=device)
            state.prompt[torch.tensor(prompt, device=device)] = True
        return state

    def hold_back(self, tokens: Collection[int], draws: int) -> None:
        """Let none of these tokens be among the next ``draws`` ones."""
        if tokens and draws > 0:
            self.barred, self.barred_draws, self.plain = tuple(sorted(tokens)), draws, False

    def has_drawn(self, token: torch.Tensor) -> None:
        """Note a token that was drawn, ``[1]``."""
        if self.counts is not None:
            self.counts.index_add_(0, token, self.counts.new_ones(1))
        if self.barred_draws:
            self.barred_draws -= 1
            self.plain = not self.barred_draws and self.sampling.plain

    def penalise(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits ``[vocabulary]`` without what is barred, and with the penalties for what was there."""
        asked, counts, prompt = self.sampling, self.counts, self.prompt
        if self.barred_draws:
            logits = logits.index_fill(0, placed(self.barred, logits.device), -math.inf)
        if counts is None:
            return logits
        assert prompt is not None
        factor = asked.repetition_penalty
        repeated = torch.where(logits > 0, logits / factor, logits * factor)
        logits = torch.where(prompt | (counts > 0), repeated, logits)
        return logits - asked.presence_penalty * (counts > 0) - asked.frequency_penalty * counts


@frozen(slots=True)
class Told:
    """The next token of each row, as numbers."""

    tokens: list[int | None]
    """``None`` where the row's logits were no finite numbers."""
    logprobs: list[Logprob | None]
    """For each row that asked: the token's log-probability and the most probable tokens with theirs."""


@frozen(slots=True, eq=False)
class Drawn:
    """The next token of each row, on the device."""

    tokens: torch.Tensor
    """``[rows]``: always ids of the vocabulary."""
    finite: torch.Tensor
    """``[rows]``: whether the row's logits were numbers."""
    logprobs: list[tuple[torch.Tensor, torch.Tensor] | None]
    """For each row that asked: ids of its token and of the most probable ones, and log-probabilities of all these."""

    def told(self) -> Told:
        """Wait for the device, and return what it drew."""
        tokens = [token if token >= 0 else None for token in torch.where(self.finite, self.tokens, -1).tolist()]
        return Told(tokens, [one and _logprob(*one) for one in self.logprobs])


def _logprob(ids: torch.Tensor, logprobs: torch.Tensor) -> Logprob:
    (own, *values), (_, *most) = logprobs.tolist(), ids.tolist()
    return own, tuple(zip(most, values, strict=True))


@torch.inference_mode()
def draw(logits: torch.Tensor, states: Sequence[SamplerState]) -> Drawn:
    """Draw a token for each row of ``logits``, ``[rows, vocabulary]``; the device is not waited for."""
    largest, tokens = logits.max(dim=-1)
    # A NaN anywhere in a row is its maximum, and a row that overflowed has an infinite one.
    finite = torch.isfinite(largest)
    if all(state.plain for state in states):
        return Drawn(tokens, finite, [None] * len(states))
    tokens = _drawn(logits.float(), states)
    for i, state in enumerate(states):
        state.has_drawn(tokens[i : i + 1])
    return Drawn(tokens, finite, [_asked_logprobs(logits[i], tokens[i : i + 1], one) for i, one in enumerate(states)])


def _drawn(logits: torch.Tensor, states: Sequence[SamplerState]) -> torch.Tensor:
    penalised = [i for i, state in enumerate(states) if state.counts is not None or state.barred_draws]
    if penalised:
        logits = logits.clone()
        for i in penalised:
            logits[i] = states[i].penalise(logits[i])
    tokens = logits.argmax(dim=-1)
    by_chance = [i for i, state in enumerate(states) if state.generator is not None]
    if by_chance:
        rows = placed(by_chance, logits.device)
        tokens[rows] = _by_chance(logits[rows], [states[i] for i in by_chance])
    return tokens


def _by_chance(logits: torch.Tensor, states: Sequence[SamplerState]) -> torch.Tensor:
    """Draw from ``logits``, ``[rows, vocabulary]``, by each row's own number."""
    device = logits.device

    def column(values: list[float]) -> torch.Tensor:
        return placed(values, device, torch.float64)[:, None]

    asked = [state.sampling for state in states]
    chances = [float(torch.rand((), generator=state.generator, dtype=torch.float64)) for state in states]
    scaled = logits.double() / column([one.temperature for one in asked])
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    probable = ordered.softmax(dim=-1)
    rank = torch.arange(logits.shape[-1], device=device)
    top_k = column([one.top_k or logits.shape[-1] for one in asked])
    probable = probable.masked_fill(rank >= top_k, 0)
    probable = probable / probable.sum(dim=-1, keepdim=True)
    before = probable.cumsum(dim=-1) - probable
    unlikely = probable < column([one.min_p for one in asked]) * probable[:, :1]
    # The most probable token is always among those that may be drawn.
    excluded = ((before >= column([one.top_p for one in asked])) | unlikely) & (rank > 0)
    probable = probable.masked_fill(excluded, 0)
    reached = probable.cumsum(dim=-1)
    place = (reached <= column(chances) * reached[:, -1:]).sum(dim=-1, keepdim=True)
    # Of a row of NaNs none is above 0; it draws something, and its neighbours draw as ever.
    last = ((probable > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return order.gather(-1, place.minimum(last))[:, 0]


def _asked_logprobs(
    logits: torch.Tensor, token: torch.Tensor, state: SamplerState
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return what a turn asked of one row, ``[vocabulary]``, of which ``token`` was drawn, as in :class:`Drawn`."""
    wanted = state.sampling.logprobs
    if wanted is None:
        return None
    logprobs = logits.float().log_softmax(dim=-1)
    most = logprobs.topk(min(wanted, len(logprobs))).indices
    ids = torch.cat((token, most))
    return ids, logprobs[ids]
