"""How large the engine is made, where nobody says: from the model's own length and the memory of one token's KV."""

from __future__ import annotations

from astraea.errors import UsageError
from astraea.executor.families import kv_shape
from astraea.executor.model import LoadedModel
from astraea.policy.limits import EngineCosts, Limits
from astraea.server.costs import costs_of_profile, measure_costs
from astraea.server.settings import Settings
from astraea.units import blocks_for

__all__ = ["limits_of", "longest_context"]

_BLOCK_TOKENS = 16
_CONTEXTS = 4
_CONTEXT_TOKENS = 2_048
"""Of a model that does not say for how long a context it was made."""
_POOL_BYTES_MAX = 1 << 30
_STEP_TOKENS_CPU, _STEP_TOKENS_GPU = 256, 2_048
"""More is no faster on a CPU, and a step that lasts makes everybody wait."""


def longest_context(settings: Settings, loaded: LoadedModel) -> int:
    """Return how many tokens prompt and output may have together."""
    config = loaded.model.config.get_text_config()
    most = int(getattr(config, "max_position_embeddings", 0)) or _CONTEXT_TOKENS
    asked = settings.max_model_len
    if asked is not None and asked > most:
        raise UsageError(f"max_model_len is {asked}, but {loaded.name} was made for {most} tokens")
    return asked or most


def limits_of(settings: Settings, loaded: LoadedModel) -> Limits:
    """Return the limits of the scheduler; raise :class:`UsageError` for a context or a profile that cannot be."""
    longest = longest_context(settings, loaded)
    tokens = settings.kv_tokens or _default_tokens(loaded, longest)
    per_tenant = settings.max_queue_per_tenant or settings.max_queue
    return Limits(
        device_blocks=max(1, tokens // _BLOCK_TOKENS),
        host_blocks=settings.host_kv_tokens // _BLOCK_TOKENS,
        block_tokens=_BLOCK_TOKENS,
        step_tokens_max=_STEP_TOKENS_GPU if loaded.model.device.type == "cuda" else _STEP_TOKENS_CPU,
        batch_turns_max=settings.max_num_seqs,
        turns_max=settings.max_queue,
        tenant_turns_max=min(per_tenant, settings.max_queue),
        costs=_costs(settings, loaded),
    )


def _costs(settings: Settings, loaded: LoadedModel) -> EngineCosts:
    if settings.engine is not None:
        return costs_of_profile(settings.engine)
    if not settings.measure:
        return EngineCosts()
    return measure_costs(loaded, block_tokens=_BLOCK_TOKENS, copies=settings.host_kv_tokens > 0)


def _default_tokens(loaded: LoadedModel, longest: int) -> int:
    # Where a GiB does not hold one context, one context is what is held.
    most = max(longest, _POOL_BYTES_MAX // kv_shape(loaded.model).token_bytes)
    return blocks_for(min(_CONTEXTS * longest, most), _BLOCK_TOKENS) * _BLOCK_TOKENS
