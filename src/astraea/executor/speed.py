"""How fast the engine is on this machine, beside what ``transformers`` itself offers for many prompts.

The three generate the same number of tokens for the same prompts, greedily, and take turns, so that a machine that is
slower for a while is so for all of them. ``generate`` pads all prompts to the longest; ``generate_batch`` is its
continuous batching, in the fastest of a few settings.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from random import Random
from statistics import median
from typing import Any

import torch
from attrs import frozen
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from astraea.errors import InvariantError
from astraea.executor.attention import PagedModel
from astraea.executor.blocks import BlockPool
from astraea.executor.families import kv_shape
from astraea.executor.model import LoadedModel
from astraea.executor.ragged import RaggedBatch, Row
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.swap import copy_all, make_copier, moves_of
from astraea.policy.limits import Limits
from astraea.units import blocks_for

__all__ = ["DECODE_CONTEXTS", "EQUAL", "RAGGED", "Race", "copy_ratio", "decode_ms", "prompts_of", "race"]

PROMPTS = 32
NEW_TOKENS = 64
EQUAL = "equal"
RAGGED = "ragged"
DECODE_CONTEXTS = (128, 256, 512, 1_024, 2_048)
_LENGTHS = {EQUAL: (64, 64), RAGGED: (8, 256)}
_BLOCK_TOKENS = 16
_PAGE_SIZE = "page_size" if any(one.name == "page_size" for one in fields(ContinuousBatchingConfig)) else "block_size"
"""What ``generate_batch`` calls the tokens of a page: the name changed in transformers 5.17."""
_SETTINGS = ((32, 256), (32, 1_024), (64, 4_096))
"""Page size and tokens a batch of ``generate_batch``, the fastest of which runs beside the engine."""
_DECODE_TURNS = 8
_DECODE_STEPS = 15
_COPY_BYTES_MIN = 64 << 20
_COPY_ROUNDS = 7


@frozen(slots=True)
class Race:
    """Tokens generated a second by each of the three, the median of all rounds."""

    prompt_tokens: int
    engine: float
    generate: float
    generate_batch: float
    page_size: int
    """Of ``generate_batch``, as tuned."""
    max_batch_tokens: int
    num_blocks: int

    @property
    def ratio_generate(self) -> float:
        """How many times as fast as padded ``generate`` the engine is."""
        return self.engine / self.generate

    @property
    def ratio_generate_batch(self) -> float:
        """How many times as fast as tuned ``generate_batch`` the engine is."""
        return self.engine / self.generate_batch


def prompts_of(kind: str, vocabulary: int, seed: int) -> list[list[int]]:
    """Return prompts of random tokens, of equal lengths or of lengths whose logarithm is evenly spread."""
    dice, (least, most) = Random(seed), _LENGTHS[kind]
    lengths = [round(math.exp(dice.uniform(math.log(least), math.log(most)))) for _ in range(PROMPTS)]
    return [[dice.randrange(3, vocabulary) for _ in range(length)] for length in lengths]


def race(loaded: LoadedModel, kind: str, *, rounds: int, seed: int = 0) -> Race:
    """Time the three in turns, after one run of each that is not counted."""
    prompts = prompts_of(kind, loaded.model.config.vocab_size, seed)
    rival = copy.deepcopy(loaded.model)
    rival.set_attn_implementation("sdpa")
    tuned = _tuned(rival, prompts)
    longest = max(map(len, prompts)) + NEW_TOKENS
    with Engine(loaded, Limits(device_blocks=PROMPTS * blocks_for(longest, _BLOCK_TOKENS))) as engine:
        ways: dict[str, Callable[[], None]] = {
            "engine": lambda: _by_engine(engine, prompts),
            "generate": lambda: _by_generate(rival, prompts),
            "generate_batch": lambda: _by_generate_batch(rival, prompts, tuned),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 1):
            for way, run in ways.items():
                took_s = _timed(run)
                if number:
                    seconds[way].append(took_s)
    speeds = {way: PROMPTS * NEW_TOKENS / median(times) for way, times in seconds.items()}
    assert tuned.num_blocks is not None
    assert tuned.max_batch_tokens is not None
    return Race(
        sum(map(len, prompts)), **speeds, page_size=getattr(tuned, _PAGE_SIZE), max_batch_tokens=tuned.max_batch_tokens,
        num_blocks=tuned.num_blocks,
    )  # fmt: skip


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _by_engine(engine: Engine, prompts: Sequence[Sequence[int]]) -> None:
    answers = [
        engine.submit(
            TurnRequest(
                session_id=f"s{number}", job_id=f"j{number}", turn_id=f"t{number}", prompt=prompt,
                max_output_tokens=NEW_TOKENS, stop_tokens=frozenset(), shared_prefix_tokens=0,
            )
        )
        for number, prompt in enumerate(prompts)
    ]  # fmt: skip
    engine.run_until_idle()
    for number, answer in enumerate(answers):
        if answer.finish is not Finish.LENGTH:
            raise InvariantError("INV-4", f"prompt {number} ended {answer.finish}: {answer.error}")
        engine.close_session("default", f"s{number}")
    engine.run_until_idle()


def _greedy() -> GenerationConfig:
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0
    )


def _by_generate(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
    longest = max(map(len, prompts))
    device = model.device
    ids = torch.tensor([[0] * (longest - len(prompt)) + [*prompt] for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    with torch.inference_mode():
        model.generate(ids, attention_mask=mask, generation_config=_greedy())  # type: ignore[operator]


def _by_generate_batch(model: PreTrainedModel, prompts: list[list[int]], setting: ContinuousBatchingConfig) -> None:
    # It takes no absent end token; none of the vocabulary is -1.
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    outcome = model.generate_batch(  # type: ignore[operator]
        prompts, generation_config=config, continuous_batching_config=setting
    )
    if len(outcome) != len(prompts) or any(len(one.generated_tokens) != NEW_TOKENS for one in outcome.values()):
        raise InvariantError("INV-4", "generate_batch did not generate all of its tokens")


def _tuned(model: PreTrainedModel, prompts: list[list[int]]) -> ContinuousBatchingConfig:
    """Return the fastest of a few settings of ``generate_batch``, each run once before it is timed."""
    longest = max(map(len, prompts)) + NEW_TOKENS
    settings = [
        _setting({_PAGE_SIZE: page, "num_blocks": PROMPTS * blocks_for(longest, page), "max_batch_tokens": tokens})
        for page, tokens in _SETTINGS
    ]
    times = []
    for setting in settings:
        run = partial(_by_generate_batch, model, prompts, setting)
        run()
        times.append(_timed(run))
    return settings[times.index(min(times))]


def _setting(sizes: dict[str, Any]) -> ContinuousBatchingConfig:
    return ContinuousBatchingConfig(**sizes)


def decode_ms(
    loaded: LoadedModel, contexts: Sequence[int] = DECODE_CONTEXTS, *, flex: bool = False
) -> dict[int, float]:
    """Return the median time in ms of a step in which eight turns of that context decode, for each context."""
    costs = {}
    for context in contexts:
        blocks = blocks_for(context + _DECODE_STEPS, _BLOCK_TOKENS)
        paged = PagedModel(loaded.model, _DECODE_TURNS * blocks, _BLOCK_TOKENS, flex=flex)
        rows = [Row(range(i * blocks, (i + 1) * blocks), context, 1) for i in range(_DECODE_TURNS)]
        batch = paged.batch(rows)
        ids = torch.full((_DECODE_TURNS,), 3, device=batch.positions.device)
        times = []
        for step in range(_DECODE_STEPS):
            if step:
                batch.advance()
            times.append(_timed(partial(_step, paged, batch, ids)))
        costs[context] = 1_000 * median(times)
    return costs


def _step(paged: PagedModel, batch: RaggedBatch, ids: torch.Tensor) -> None:
    paged.forward(batch, ids, batch.last_tokens).argmax(dim=-1).tolist()


def copy_ratio(loaded: LoadedModel) -> float:
    """Return the bandwidth of a swap over that of one plain copy of as many bytes: the slower way, median of rounds.

    Each swap stands between two plain copies in time, for other work on the machine slows both.
    """
    shape = kv_shape(loaded.model)
    blocks = -(-_COPY_BYTES_MIN // (shape.token_bytes * _BLOCK_TOKENS))
    device = BlockPool(shape, blocks, _BLOCK_TOKENS)
    host, plain = (BlockPool(shape, blocks, _BLOCK_TOKENS, pinned=True) for _ in range(2))
    device.tensor.fill_(1)
    moves = moves_of(range(blocks), range(blocks), (0, blocks * _BLOCK_TOKENS), _BLOCK_TOKENS)
    news = threading.Event()
    copier = make_copier(device, host, news)
    ratios: dict[bool, list[float]] = {True: [], False: []}
    try:
        for number in range(2 * (_COPY_ROUNDS + 1)):
            to_host = number % 2 == 0
            ends = (device.tensor, plain.tensor) if to_host else (plain.tensor, device.tensor)
            before_s = _timed(partial(_copy, *ends))
            swap_s = _timed(partial(copy_all, copier, news, moves, to_host=to_host))
            after_s = _timed(partial(_copy, *ends))
            if number > 1:  # the first way out and back touches new memory
                ratios[to_host].append((before_s + after_s) / 2 / swap_s)
    finally:
        copier.close()
    return min(median(values) for values in ratios.values())


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)
    if source.is_cuda or target.is_cuda:
        torch.cuda.synchronize()
