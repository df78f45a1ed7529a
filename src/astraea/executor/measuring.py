"""What a model costs on this machine: batches of many kinds through the engine, timed, and copies to the host and back.

Every figure is taken where a real run would pay it: batches are those of a whole engine, with the scheduler's time, the
padding and the sampling in them.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from statistics import median

from attrs import Factory, define, frozen

from astraea.executor.blocks import BlockPool
from astraea.executor.families import kv_shape
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Answer, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.swap import copy_all, make_copier, moves_of
from astraea.policy.limits import Limits
from astraea.trace.reader import read_trace
from astraea.trace.steps import RanBatch, ran_batches

__all__ = ["CopySpeed", "measure_batches", "measure_copies", "warm_up"]

_PASSES = 3
_TURNS_OF_A_SESSION = 3
_OUTPUT_TOKENS_MAX = 64
_COPY_BYTES = 128 << 20
_COPY_ROUNDS = 5
_WARM_UP_S = 0.5


@frozen(slots=True)
class CopySpeed:
    """How fast the KV goes between device and host."""

    bytes_per_s: int
    """The slower of the two ways, median of several rounds."""
    copied_bytes: int
    """Bytes of one round, one way."""


@define(eq=False)
class _Session:
    """One agent of the measurement: a few turns, each of which goes on from the one before."""

    session_id: str
    history: list[int] = Factory(list)
    turns: int = 0
    answer: Answer | None = None


def measure_batches(
    loaded: LoadedModel,
    limits: Limits,
    *,
    context_tokens_max: int,
    seconds: float,
    seed: int,
) -> list[RanBatch]:
    """Return the batches that the engine ran in about so many seconds under many different loads.

    The load changes every few moments between one short turn and a full batch, and goes through all kinds several
    times, so that a machine that is slower for a while is so for all of them. The first batch is a warm-up.
    """
    dice = Random(seed)
    kinds = _loads(limits, context_tokens_max)
    loads = [load for _ in range(_PASSES) for load in dice.sample(kinds, len(kinds))]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "trace.ndjson"
        with Engine(loaded, limits, record=record) as engine:
            agents = _Agents(engine, loaded.model.config.vocab_size, dice)
            began = time.monotonic()
            for number, (turns, context_tokens) in enumerate(loads, start=1):
                agents.run(turns, context_tokens, began + seconds * number / len(loads))
        return list(ran_batches(read_trace(record)))[1:]


def _loads(limits: Limits, context_tokens_max: int) -> list[tuple[int, int]]:
    """Return ``(turns at once, longest context)`` by powers of four and two, as far as the pool holds them."""
    turns = [4**power for power in range(8) if 4**power < limits.batch_turns_max] + [limits.batch_turns_max]
    contexts = [context_tokens_max >> power for power in (0, 2, 4) if context_tokens_max >> power >= 2 * 16]
    loads = [(count, tokens) for count in turns for tokens in contexts if count * tokens <= limits.device_tokens]
    return loads or [(1, context_tokens_max)]


@frozen(slots=True, eq=False)
class _Agents:
    """Those who ask while it is measured."""

    engine: Engine
    vocabulary: int
    dice: Random

    def run(self, turns: int, context_tokens: int, until: float) -> None:
        """Keep so many turns live until the time has come, and then end them."""
        sessions = [self._new_session() for _ in range(turns)]
        while time.monotonic() < until:
            for slot, session in enumerate(sessions):
                if session.answer is None or session.answer.finish is not None:
                    sessions[slot] = self._next_turn(session, context_tokens)
            self.engine.step()
        for session in sessions:
            self.engine.close_session("default", session.session_id)
        self.engine.run_until_idle()

    def _new_session(self) -> _Session:
        return _Session(f"{self.dice.getrandbits(64):016x}")

    def _next_turn(self, session: _Session, context_tokens: int) -> _Session:
        """Ask for a session's next turn, or for the first of a new one where it had enough or is too long."""
        output = _log_uniform(self.dice, 2, min(_OUTPUT_TOKENS_MAX, context_tokens // 4))
        if session.answer is not None:
            session.history = [*session.answer.request.prompt, *session.answer.tokens]
        if session.turns == _TURNS_OF_A_SESSION or len(session.history) + output >= context_tokens:
            self.engine.close_session("default", session.session_id)
            session = self._new_session()
        new_tokens = _log_uniform(self.dice, 1, context_tokens - output - len(session.history))
        session.turns += 1
        name, goes_on = session.session_id, session.turns < _TURNS_OF_A_SESSION
        session.answer = self.engine.submit(
            TurnRequest(
                session_id=name, job_id=name, turn_id=f"{name}.{session.turns}",
                prompt=[*session.history, *(self.dice.randrange(self.vocabulary) for _ in range(new_tokens))],
                max_output_tokens=output, stop_tokens=frozenset(), shared_prefix_tokens=0,
                tool_of=lambda _answer: "next" if goes_on else None,
            )
        )  # fmt: skip
        return session


def _log_uniform(dice: Random, least: int, most: int) -> int:
    """Return a whole number whose logarithm is evenly spread between two bounds."""
    if most <= least:
        return least
    return round(math.exp(dice.uniform(math.log(least), math.log(most))))


def measure_copies(loaded: LoadedModel, limits: Limits) -> CopySpeed:
    """Return how fast blocks go from the device pool to the host pool and back, alone on the machine."""
    shape = kv_shape(loaded.model)
    block_bytes = shape.token_bytes * limits.block_tokens
    count = max(1, min(_COPY_BYTES // block_bytes, limits.device_blocks))
    device = BlockPool(shape, count, limits.block_tokens)
    host = BlockPool(shape, count, limits.block_tokens, pinned=True)
    device.tensor.fill_(1)
    news = threading.Event()
    copier = make_copier(device, host, news)
    table = list(range(count))
    moves = moves_of(table, table, (0, count * limits.block_tokens), limits.block_tokens)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    try:
        for number in range(2 * (_COPY_ROUNDS + 1)):
            to_host = number % 2 == 0
            began = time.perf_counter()
            copy_all(copier, news, moves, to_host=to_host)
            if number > 1:  # the first way out and back touches new memory
                seconds[to_host].append(time.perf_counter() - began)
    finally:
        copier.close()
    slowest = max(median(values) for values in seconds.values())
    copied = count * block_bytes
    return CopySpeed(round(copied / slowest), copied)


def warm_up(loaded: LoadedModel) -> None:
    """Run one short turn and forget it: the first one in a process takes longer than any other."""
    limits = Limits(device_blocks=8)
    with Engine(loaded, limits) as engine:
        agents = _Agents(engine, loaded.model.config.vocab_size, Random(0))
        agents.run(1, limits.device_tokens, time.monotonic() + _WARM_UP_S)
