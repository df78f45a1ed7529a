"""Turns a Llama in a GGUF file into a folder that transformers reads: weights, configuration and tokenizer.

The weights are multiplied out to bfloat16. GGUF keeps the rows of the query and key projections of a Llama in another
order than transformers does: there the two halves that a rotary embedding turns together alternate, here the first
halves of a head stand before the second ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, TokenType, dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from astraea.errors import ModelError

__all__ = ["convert", "halves_together"]

_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(file: Path, folder: Path) -> None:
    """Write the model in the GGUF ``file`` into ``folder``; the same file gives the same bytes.

    Raises :class:`~astraea.errors.ModelError` for another architecture or kind of tokenizer.
    """
    reader = GGUFReader(file)
    facts = {key: field.contents() for key, field in reader.fields.items()}
    expected = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise ModelError(f"{file.name}: its {key} is {facts.get(key)!r}, and only {value!r} is converted")
    folder.mkdir(parents=True)
    weights = dict(_weights(reader, facts))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = _config(facts, tied="lm_head.weight" not in weights)
    config.save_pretrained(folder)
    GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    ).save_pretrained(folder)
    _tokenizer(facts).save_pretrained(folder)


def halves_together(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Return the rows of a projection, which alternate in each head, with each head's first halves first."""
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1)
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _weights(reader: GGUFReader, facts: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    heads = {"attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        *layer, part, kind = tensor.name.split(".")
        if part in heads:
            values = halves_together(values, heads[part])
        name = f"model.layers.{layer[1]}.{_LAYER_NAMES[part]}" if layer else _OUTER_NAMES[part]
        yield f"{name}.{kind}", torch.tensor(values, dtype=torch.bfloat16)


def _config(facts: Mapping[str, Any], *, tied: bool) -> LlamaConfig:
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=_decimal(facts["llama.attention.layer_norm_rms_epsilon"]),
        rope_parameters={"rope_type": "default", "rope_theta": _decimal(facts["llama.rope.freq_base"])},
        bos_token_id=facts["tokenizer.ggml.bos_token_id"],
        eos_token_id=facts["tokenizer.ggml.eos_token_id"],
        pad_token_id=facts["tokenizer.ggml.padding_token_id"],
        tie_word_embeddings=tied,
        dtype=torch.bfloat16,
    )


def _decimal(value: float) -> float:
    """Return the number that was meant by one stored with 32 bits: 1e-05 rather than 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _tokenizer(facts: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    words: list[str] = facts["tokenizer.ggml.tokens"]
    merges = [(left, right) for left, right in (merge.split(" ") for merge in facts["tokenizer.ggml.merges"])]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = facts["tokenizer.ggml.token_type"]
    marks = [word for word, kind in zip(words, kinds, strict=True) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=words[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=words[facts["tokenizer.ggml.eos_token_id"]],
        pad_token=words[facts["tokenizer.ggml.padding_token_id"]],
        unk_token=words[facts["tokenizer.ggml.unknown_token_id"]],
        chat_template=facts["tokenizer.chat_template"],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
