"""Small random models of every family."""

from __future__ import annotations

import functools

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
    "initializer_range": 0.5,  # so that no two logits are near each other
}
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 10_000.0},
    "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10_000.0, "original_max_position_embeddings": 128},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 10_000.0,
        "original_max_position_embeddings": 64,
    },
}  # fmt: skip


def _llama(rope="default", **changes):
    return LlamaForCausalLM(LlamaConfig(**(SIZES | {"rope_parameters": ROPES[rope]} | changes)))


MODELS = {
    "llama": _llama,
    "llama, all heads": lambda: _llama(num_key_value_heads=4),
    "llama, one head": lambda: _llama(num_key_value_heads=1),
    "llama, tied": lambda: _llama(tie_word_embeddings=True),
    "llama, wide heads": lambda: _llama(head_dim=32),
    "llama, linear rope": lambda: _llama("linear"),
    "llama, yarn rope": lambda: _llama("yarn"),
    "llama, llama3 rope": lambda: _llama("llama3"),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen2, some windows": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=7, max_window_layers=1)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=24)),
    "mistral, window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=9)),
    "mistral, no window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SIZES,
            head_dim=16,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
}


@functools.cache
def model_of(name, dtype=torch.float32):
    """A seeded model of a family, the same object for all tests of a process."""
    torch.manual_seed(7)
    return MODELS[name]().to(dtype).eval()
