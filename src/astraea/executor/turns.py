"""A turn while the executor has it: its known tokens, how far they are computed, and what becomes of each new one."""

from __future__ import annotations

from attrs import define

from astraea.executor.holding import Holding
from astraea.executor.requests import Answer, Finish, Token, TurnRequest
from astraea.executor.sampling import Logprob, SamplerState
from astraea.executor.stops import TextStream

__all__ = ["LiveTurn"]


@define(eq=False)
class LiveTurn:
    """One admitted turn."""

    answer: Answer
    known: list[int]
    """Its prompt and what was sampled after it."""
    stop_tokens: frozenset[int]
    sampler: SamplerState
    stream: TextStream | None = None
    holding: Holding | None = None
    """While it runs: the blocks of its context."""
    done: int = 0
    """While it runs: leading tokens whose KV is computed."""
    ran: bool = False
    """Whether it was dispatched at all: from then on its context's KV is of its tokens."""

    @property
    def request(self) -> TurnRequest:
        """What was asked."""
        return self.answer.request

    @property
    def table(self) -> list[int]:
        """Addresses of its blocks."""
        assert self.holding is not None
        return self.holding.table

    def take(self, token: int, logprob: Logprob | None) -> Finish | None:
        """Take the token that was sampled, tell it, and return how the turn ends with it, if it does.

        Raises whatever a callback of the client raises.
        """
        request, answer, stream = self.request, self.answer, self.stream
        self.known.append(token)
        answer.tokens.append(token)
        if logprob is not None:
            answer.logprobs.append(logprob)
        finish = None
        if token in self.stop_tokens or len(answer.tokens) == request.ends_after:
            finish = Finish.STOP
        elif len(answer.tokens) >= request.max_output_tokens:
            finish = Finish.LENGTH
        text = ""
        if stream is not None:
            # A stop token is no part of the text.
            text = stream.push(token) if token not in self.stop_tokens else ""
            if stream.has_stopped():
                finish = Finish.STOP
            elif finish is not None:
                text += stream.finish()
                finish = Finish.STOP if stream.has_stopped() else finish
            answer.text, answer.stopped_by = stream.text, stream.stopped_by
        if request.on_token is not None:
            told = logprob if logprob is not None else (None, ())
            request.on_token(Token(token, text, *told))
        if finish is not None and request.tool_of is not None:
            answer.tool = request.tool_of(answer)
        return finish
