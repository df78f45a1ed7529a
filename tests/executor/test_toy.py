"""The toy: the same weights for the same seed, and a tokenizer that loses nothing."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from astraea.executor.model import load_model
from astraea.executor.toy import toy_tokenizer

TOKENIZER = toy_tokenizer()


def test_the_shape_is_the_one_that_is_told():
    loaded = load_model("toy")
    config = loaded.model.config
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("llama", 256, 4)
    assert (config.num_attention_heads, config.num_key_value_heads, config.vocab_size) == (4, 2, 2048)
    assert loaded.model.dtype == torch.float32
    assert not loaded.model.training
    assert "random" in loaded.note
    assert len(loaded.tokenizer) == 2048


def test_a_seed_gives_the_same_weights_and_another_gives_others():
    first, again, other = (load_model("toy", seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_loading_it_moves_no_other_generator():
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    load_model("toy", seed=9)
    assert torch.equal(torch.rand(4), expected)


def test_it_loads_in_the_type_that_is_asked_for():
    assert load_model("toy", dtype=torch.float64).model.dtype == torch.float64


@given(st.text())
def test_any_text_survives_a_round_trip(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == text
    assert all(0 <= index < 2048 for index in ids)


def test_common_pairs_are_one_token():
    assert len(TOKENIZER.encode("the", add_special_tokens=False)) < 3


def test_every_token_decodes_to_something():
    assert all(TOKENIZER.decode([index]) for index in range(2048))


def test_a_chat_is_laid_out_with_its_marks():
    ids = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert TOKENIZER.decode(ids) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert ids[0] == 1


def test_what_it_says_is_not_one_token_again_and_again():
    loaded = load_model("toy")
    prompt = torch.tensor([TOKENIZER.encode("the prompt")])
    with torch.no_grad():
        output = loaded.model.generate(prompt, max_new_tokens=32, do_sample=False)
    said = output[0, prompt.shape[1] :].tolist()
    assert len(set(said)) > len(said) / 2
