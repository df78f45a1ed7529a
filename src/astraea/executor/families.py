"""The model families that the executor computes, and what it must know of a model: the shape of its KV and its windows.

A family is in the list once its greedy tokens under this executor were compared with those of its own ``generate``.
"""

from __future__ import annotations

import torch
from attrs import frozen
from transformers import PreTrainedConfig, PreTrainedModel

from astraea.errors import ModelError

__all__ = ["FAMILIES", "KvShape", "UnsupportedModelError", "check_family", "kv_shape"]

FAMILIES = ("gemma3_text", "llama", "mistral", "qwen2", "qwen3")

ROPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotary embeddings in which a position has one rotation; in others it follows from the longest turn of a batch."""


class UnsupportedModelError(ModelError):
    """Is raised for a model that the executor would not compute rightly; its text says what stands in the way."""


@frozen(slots=True, kw_only=True)
class KvShape:
    """What one model keeps of a token, in every layer."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    windows: tuple[int | None, ...]
    """For each layer: how many tokens back it looks, itself included; ``None`` where it looks at all."""

    @property
    def token_bytes(self) -> int:
        """Bytes of the KV of one token in all layers."""
        return self.layers * 2 * self.kv_heads * self.head_dim * self.dtype.itemsize


def kv_shape(model: PreTrainedModel) -> KvShape:
    """Return the KV shape of a model; raise :class:`UnsupportedModelError` where its family is not known here."""
    config: PreTrainedConfig = model.config
    check_family(config)
    heads = config.num_attention_heads
    return KvShape(
        layers=config.num_hidden_layers,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        dtype=model.dtype,
        device=model.device,
        windows=_windows(config),
    )


def check_family(config: PreTrainedConfig) -> None:
    """Raise :class:`UnsupportedModelError` unless it is a plain decoder of a known family; weights are not needed."""
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UnsupportedModelError(f"models of type {config.model_type!r} are not computed here, only {known}")
    if getattr(config, "attn_logit_softcapping", None) is not None:
        raise UnsupportedModelError(
            "a model that caps its attention scores (attn_logit_softcapping) is not computed here"
        )
    if getattr(config, "use_bidirectional_attention", None):
        raise UnsupportedModelError(
            "a model that attends to later tokens (use_bidirectional_attention) has no KV cache"
        )
    for rope in _rope_types(config) - ROPES:
        known = ", ".join(sorted(ROPES))
        raise UnsupportedModelError(
            f"rotary embeddings of type {rope!r} are not computed here, only {known}: a key must not depend on what "
            "else is in the batch"
        )
    for architecture in config.architectures or ():
        if not architecture.endswith("ForCausalLM"):
            raise UnsupportedModelError(f"a {architecture} does not generate text; a ...ForCausalLM is needed")
    if getattr(config, "quantization_config", None) is not None:
        raise UnsupportedModelError("quantised weights are not computed here, only float32, bfloat16 and float16")


def _rope_types(config: PreTrainedConfig) -> set[str]:
    """Return the types of rotary embedding in a model, which may have one for each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [one for one in parameters.values() if isinstance(one, dict)] or [parameters]
    return {kind.get("rope_type", "default") for kind in kinds}


def _windows(config: PreTrainedConfig) -> tuple[int | None, ...]:
    layers: int = config.num_hidden_layers
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return (window,) * layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
