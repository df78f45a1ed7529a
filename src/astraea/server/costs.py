"""What the engine's work costs here, for the scheduler to weigh a cache by: from a profile, or measured quickly.

Two turns are run alone, a short one and one of a step's length, and the difference tells what a token costs. That is
rough; ``astraea calibrate`` takes its time and writes a profile. Estimates rest on these costs, and no claim does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from astraea.executor.families import kv_shape
from astraea.executor.measuring import measure_copies
from astraea.executor.model import LoadedModel
from astraea.executor.requests import Token, TurnRequest
from astraea.executor.runner import Engine
from astraea.policy.limits import EngineCosts, Limits
from astraea.simulator.engine import limits_for
from astraea.simulator.profiles import load_engine
from astraea.units import blocks_for

__all__ = ["costs_of_profile", "measure_costs"]

_SHORT_TOKENS, _LONG_TOKENS = 16, 256
_OUTPUT_TOKENS = 6
_ROUNDS = 2
_NS_PER_S, _PS_PER_NS = 1_000_000_000, 1_000


def costs_of_profile(profile: Path) -> EngineCosts:
    """Return the costs that ``astraea calibrate`` measured; raise :class:`UsageError` for a file that is no profile."""
    return limits_for(load_engine(str(profile))).costs


def measure_costs(loaded: LoadedModel, *, block_tokens: int, copies: bool) -> EngineCosts:
    """Return the costs of a model on this machine, within a few seconds; ``copies``: those to the host as well."""
    blocks = blocks_for(_LONG_TOKENS + _OUTPUT_TOKENS, block_tokens)
    limits = Limits(device_blocks=blocks, block_tokens=block_tokens, step_tokens_max=_LONG_TOKENS)
    with Engine(loaded, limits) as engine:
        _run(engine, loaded, _LONG_TOKENS)  # the first turn of a process takes longer than any other
        short = [_run(engine, loaded, _SHORT_TOKENS) for _ in range(_ROUNDS)]
        long = [_run(engine, loaded, _LONG_TOKENS) for _ in range(_ROUNDS)]
    more_tokens = _LONG_TOKENS - _SHORT_TOKENS
    first_ns = [min(times[0] for times in turns) for turns in (short, long)]
    step_ns = [median(ns for times in turns for ns in times[1:]) for turns in (short, long)]
    token_ns = max(1, round((first_ns[1] - first_ns[0]) / more_tokens))
    swap_ns = EngineCosts().swap_ns_per_token
    if copies:
        swap_ns = max(1, kv_shape(loaded.model).token_bytes * _NS_PER_S // measure_copies(loaded, limits).bytes_per_s)
    return EngineCosts(
        step_ns=max(1, round(step_ns[0]) - token_ns),
        prefill_ns_per_token=token_ns,
        read_ps_per_context_token=max(0, round((step_ns[1] - step_ns[0]) * _PS_PER_NS / more_tokens)),
        attention_ps_per_token_pair=0,
        swap_ns_per_token=swap_ns,
    )


def _run(engine: Engine, loaded: LoadedModel, prompt_tokens: int) -> Sequence[int]:
    """Run one turn alone; return the nanoseconds to its first token and from each token to the next."""
    ends_ns: list[int] = []

    def told(_token: Token) -> None:
        ends_ns.append(time.perf_counter_ns())

    vocabulary = loaded.model.config.get_text_config().vocab_size
    began_ns = time.perf_counter_ns()
    engine.submit(
        TurnRequest(
            session_id="measured", job_id="measured", turn_id="measured",
            prompt=[token % vocabulary for token in range(prompt_tokens)], max_output_tokens=_OUTPUT_TOKENS,
            stop_tokens=frozenset(), shared_prefix_tokens=0, on_token=told,
        )
    )  # fmt: skip
    engine.run_until_idle()
    engine.close_session("default", "measured")
    engine.run_until_idle()
    return [end - begin for begin, end in zip([began_ns, *ends_ns], ends_ns, strict=False)]
