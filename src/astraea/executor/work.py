"""What the engine has in hand: the live turns, and how each event and each decision is carried out on them."""

from __future__ import annotations

from collections.abc import Callable

from astraea.decisions import Decision, DropCache, Hold, Preempt, Refuse, RunBatch, SwapIn, SwapOut, WakeAt
from astraea.errors import InvariantError
from astraea.events import (
    BatchDone,
    JobCancelled,
    Outcome,
    SessionClosed,
    TurnArrived,
    TurnCancelled,
    TurnOutcome,
)
from astraea.executor.attention import PagedModel
from astraea.executor.batches import run_batch
from astraea.executor.copies import Copies
from astraea.executor.histories import Histories
from astraea.executor.holdings import Holdings
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Answer, Finish
from astraea.executor.sampling import SamplerState
from astraea.executor.stops import TextStream
from astraea.executor.turns import LiveTurn
from astraea.executor.verbs import Verbs

__all__ = ["Work"]

_OUTCOMES = {Finish.STOP: Outcome.FINAL, Finish.LENGTH: Outcome.LENGTH, Finish.FAILED: Outcome.FAILED}


class Work:
    """The live turns of one engine, on the blocks of their contexts."""

    def __init__(
        self, loaded: LoadedModel, model: PagedModel, verbs: Verbs, holdings: Holdings, copies: Copies | None
    ) -> None:
        self._loaded = loaded
        self._model = model
        self._verbs = verbs
        self._holdings = holdings
        self._copies = copies
        self._histories = Histories(model.pool.block_tokens)
        self._stop_tokens = _stop_tokens(loaded)
        self.live: dict[str, LiveTurn] = {}
        self.batch: RunBatch | None = None
        """The batch that is owed."""
        self.wake_us: int | None = None
        """When the scheduler wants to be asked again at the latest; a time to come."""
        self.vocabulary: int = loaded.model.config.get_text_config().vocab_size

    # Arrivals and ends

    def arrive(self, answer: Answer) -> None:
        """Take in a turn; one that the scheduler cannot hear of now is refused."""
        request = answer.request
        context = request.tenant, request.session_id, request.context_id
        prompt = list(request.prompt)
        turn = self._live_turn(answer, prompt)
        reusable, shared = self._histories.compare(context, prompt, request.shared_prefix_tokens)
        error = self._verbs.offer(
            TurnArrived(
                self._verbs.now_us(), request.tenant, request.session_id, request.job_id, request.turn_id,
                request.context_id, len(prompt), reusable, request.max_output_tokens, shared, request.hints,
            )
        )  # fmt: skip
        if error:
            answer.end(Finish.REFUSED, error)
            return
        self.live[request.turn_id] = turn

    def _live_turn(self, answer: Answer, prompt: list[int]) -> LiveTurn:
        request, tokenizer = answer.request, self._loaded.tokenizer
        stop_tokens = self._stop_tokens if request.stop_tokens is None else request.stop_tokens
        sampler = SamplerState.begin(request.sampling, prompt, self.vocabulary, self._model.pool.shape.device)
        known = [token for token in stop_tokens if 0 <= token < self.vocabulary]  # the model says no other
        sampler.hold_back(known, request.min_output_tokens)
        return LiveTurn(
            answer,
            prompt,
            stop_tokens,
            sampler,
            TextStream(tokenizer, request.stop) if tokenizer is not None and (request.text or request.stop) else None,
        )

    def cancel(self, turn_id: str) -> None:
        """End a turn, if it is live."""
        turn = self.live.get(turn_id)
        if turn is not None and not self._verbs.offer(TurnCancelled(self._verbs.now_us(), turn_id)):
            self._leave(turn)
            self._end(turn, Finish.CANCELLED)

    def end_many(self, event: JobCancelled | SessionClosed) -> bool:
        """Tell the scheduler of an event that ends turns, and end those; return whether it was heard."""
        before = self._verbs.live_turns()
        if self._verbs.offer(event):
            return False
        for turn_id in before - self._verbs.live_turns():
            turn = self.live[turn_id]
            self._leave(turn)
            self._end(turn, Finish.CANCELLED)
        return True

    def close_session(self, tenant: str, session_id: str) -> None:
        """End a session: its turns, its caches and what was remembered of it."""
        if self.end_many(SessionClosed(self._verbs.now_us(), tenant, session_id)):
            self._holdings.close(tenant, session_id)
            self._histories.close(tenant, session_id)

    def abandon(self, error: str) -> None:
        """End all turns, and tell the scheduler nothing: nobody will ask it again."""
        for turn in list(self.live.values()):
            self._end(turn, Finish.CANCELLED, error)

    def wake(self, now_us: int) -> None:
        """Forget the time at which the scheduler wanted to be asked, if it has come: it is going to be."""
        if self.wake_us is not None and self.wake_us <= now_us:
            self.wake_us = None

    def _leave(self, turn: LiveTurn, *, trusted: bool = True) -> None:
        """Take a turn off its blocks, if it runs."""
        if turn.holding is not None:
            self._holdings.end_run(turn.holding, turn.done, turn, trusted=trusted)
            turn.holding = None

    def _end(self, turn: LiveTurn, finish: Finish, error: str = "") -> None:
        request = turn.request
        del self.live[request.turn_id]
        if turn.ran:
            self._histories.ran((request.tenant, request.session_id, request.context_id), turn.known)
        turn.answer.end(finish, error)

    # Decisions

    def carry_out(self, decision: Decision) -> bool:
        """Carry a decision out; return whether it was one that moves things on."""
        match decision:
            case RunBatch():
                for dispatch in decision.dispatched:
                    self._dispatch(self.live[dispatch.turn_id], dispatch.start_tokens)
                self.batch = decision
            case SwapOut() | SwapIn():
                assert self._copies is not None
                self._copies.begin(decision)
            case DropCache():
                self._holdings.drop(decision)
            case Preempt():
                self._leave(self.live[decision.turn_id])
            case Refuse():
                self._refuse(decision)
            case WakeAt():
                self.wake_us = decision.at_us
                return False
            case Hold():
                return False
        return True

    def _refuse(self, decision: Refuse) -> None:
        turn = self.live[decision.turn_id]
        turn.answer.retry_after_us = decision.retry_after_us
        self._leave(turn)
        self._end(turn, Finish.REFUSED, str(decision.because.reason))

    def _dispatch(self, turn: LiveTurn, start_tokens: int) -> None:
        request = turn.request
        holding = self._holdings.of(request.tenant, request.session_id, request.context_id)
        self._holdings.bind(holding, self._verbs.core.shared_prefix_of(request.turn_id), turn)
        if start_tokens > holding.resident_tokens:
            sentence = f"turn {request.turn_id} starts from {start_tokens} tokens of {holding.resident_tokens}"
            raise InvariantError("INV-3", sentence)
        if not turn.ran and request.on_start is not None:
            request.on_start(start_tokens)
        turn.holding, turn.done, turn.ran = holding, start_tokens, True

    def run(self, is_interrupted: Callable[[], bool]) -> bool:
        """Run the batch that is owed and report it; return whether one was."""
        batch, self.batch = self.batch, None
        if batch is None:
            return False
        chunks = [(self.live[chunk.turn_id], chunk.tokens) for chunk in batch.chunks]
        for turn, tokens in chunks:
            assert turn.holding is not None
            self._holdings.hold(turn.holding, turn.done + tokens * batch.max_steps)
        run = run_batch(self._model, chunks, batch.max_steps, is_interrupted)
        outcomes = tuple(self._outcome(turn, finish) for turn, (finish, _) in run.ended.items())
        self._verbs.handle(BatchDone(self._verbs.now_us(), batch.batch_id, run.steps, outcomes))
        for turn, tokens in chunks:
            finish, error = run.ended.get(turn, (None, ""))
            turn.done += tokens * run.steps
            assert turn.holding is not None
            if finish is not Finish.FAILED:
                self._holdings.filled(turn.holding, turn.done, turn)
            if finish is not None:
                self._leave(turn, trusted=finish is not Finish.FAILED)
                self._end(turn, finish, error)
            elif run.steps < batch.max_steps:
                self._holdings.hold(turn.holding, turn.done)
        return True

    @staticmethod
    def _outcome(turn: LiveTurn, finish: Finish) -> TurnOutcome:
        tool = turn.answer.tool
        if tool is not None and finish is not Finish.FAILED:
            return TurnOutcome(turn.request.turn_id, Outcome.TOOL_CALL, tool)
        return TurnOutcome(turn.request.turn_id, _OUTCOMES[finish])


def _stop_tokens(loaded: LoadedModel) -> frozenset[int]:
    """Return the ids that end an answer of this model."""
    named = getattr(loaded.model.generation_config, "eos_token_id", None)
    if named is None:
        return frozenset()
    return frozenset([named] if isinstance(named, int) else named)
