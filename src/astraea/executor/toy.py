"""A model without a meaning: seeded random weights and a byte-level tokenizer, for tests. It needs no download.

Its shapes are those of a small Llama with grouped heads, so that all that the executor does is done; what it says is
noise. Each of its tokens is a byte, a pair of printable characters, or a mark of the chat form, so all decodes.
"""

from __future__ import annotations

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["TOY_NOTE", "toy_model", "toy_tokenizer"]

TOY_NOTE = "toy: a Llama of 4 layers with random weights (seed {seed}); its text is noise"

_VOCABULARY = 2_048
_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_END_ID = 2
_SPREAD = 0.1
"""Standard deviation of the weights: with the usual 0.02 the model says its last token again and again."""
_PAIRED = " etaoinshrdlucmfwypvbgkqjxz0123456789.,\n()_"
"""Characters whose pairs are tokens, the commonest pairs first."""

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def toy_model(seed: int = 0) -> LlamaForCausalLM:
    """Return the toy in float32 on the CPU; the same seed gives the same weights, and no other generator moves."""
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8_192,
        tie_word_embeddings=True,
        initializer_range=_SPREAD,
        bos_token_id=1,
        eos_token_id=_END_ID,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.train(mode=False)
    return model


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer for the toy's 2,048 tokens; what it encodes it decodes to the very same text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    characters = [spelled.pre_tokenize_str(character)[0][0] for character in _PAIRED]
    count = len(characters)
    by_rank = sorted((row * column, row, column) for row in range(count) for column in range(count))
    merges = [(characters[row], characters[column]) for _, row, column in by_rank]
    merges = merges[: _VOCABULARY - len(_MARKS) - len(alphabet)]
    words = [*_MARKS, *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = spelled
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in _MARKS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=_MARKS[1],
        eos_token=_MARKS[_END_ID],
        pad_token=_MARKS[0],
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
