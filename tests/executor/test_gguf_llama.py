"""The conversion of the default model: it speaks, its numbers are those of the file, and it is the same each time."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st

from astraea.errors import ModelError
from astraea.executor import gguf_llama
from astraea.executor.gguf_llama import convert, halves_together
from astraea.executor.model import load_model

TEXT = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is"


@pytest.fixture(scope="module")
def gguf_reader(gguf_file):
    return GGUFReader(gguf_file)


def loss_of(loaded):
    ids = torch.tensor([loaded.tokenizer.encode(TEXT)])
    with torch.no_grad():
        return loaded.model(ids, labels=ids).loss.item()


def alternating(rows, heads):
    """Row by row what the other side does: pair i of a head goes to rows 2 i and 2 i + 1."""
    size = rows.shape[0] // heads
    out = np.empty_like(rows)
    for head in range(heads):
        for index in range(size // 2):
            out[head * size + 2 * index] = rows[head * size + index]
            out[head * size + 2 * index + 1] = rows[head * size + size // 2 + index]
    return out


def q4_1(raw, columns):
    """Decode Q4_1 byte by byte: blocks of 32 weights, a scale and a minimum in float16, then low and high nibbles."""
    rows = []
    for row in raw:
        values = []
        for block in row.reshape(-1, 20):
            scale, minimum = (float(number) for number in block[:4].view(np.float16))
            nibbles = [int(byte) & 15 for byte in block[4:]] + [int(byte) >> 4 for byte in block[4:]]
            values += [scale * nibble + minimum for nibble in nibbles]
        rows.append(values)
    assert len(rows[0]) == columns
    return np.array(rows, dtype=np.float32)


def test_it_knows_the_capital_of_france(smollm2):
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = smollm2.tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.no_grad():
        output = smollm2.model.generate(prompt, max_new_tokens=24, do_sample=False)
    said = smollm2.tokenizer.decode(output[0, prompt.shape[1] :])
    assert "Paris" in said
    assert said.endswith("<|im_end|>"), "it does not know how to stop"


def test_the_rows_of_the_projections_are_put_in_order():
    rows = np.arange(24 * 5).reshape(24, 5)
    assert np.array_equal(halves_together(alternating(rows, 3), 3), rows)
    assert not np.array_equal(alternating(rows, 3), rows)


def test_the_weights_are_those_of_the_file(gguf_reader, smollm2):
    tensors = {tensor.name: tensor for tensor in gguf_reader.tensors}
    layer = smollm2.model.model.layers[17]
    down = q4_1(tensors["blk.17.ffn_down.weight"].data[:8], 1536)
    assert torch.equal(layer.mlp.down_proj.weight[:8], torch.tensor(down).to(torch.bfloat16))
    keys = q4_1(tensors["blk.17.attn_k.weight"].data, 576)
    assert np.array_equal(
        alternating(layer.self_attn.k_proj.weight.detach().float().numpy(), 3),
        torch.tensor(keys).to(torch.bfloat16).float().numpy(),
    )
    assert smollm2.model.lm_head.weight is smollm2.model.model.embed_tokens.weight


def test_rows_out_of_order_would_show(gguf_file, smollm2, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_llama, "halves_together", lambda rows, heads: rows)
    convert(gguf_file, tmp_path / "mutant")
    mutant = load_model(str(tmp_path / "mutant"))
    assert loss_of(smollm2) < 2.5
    assert loss_of(mutant) > loss_of(smollm2) + 0.5


def test_the_same_file_gives_the_same_bytes(gguf_file, smollm2_folder, tmp_path):
    convert(gguf_file, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(smollm2_folder)


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_the_tokenizer_splits_as_the_model_was_taught(smollm2):
    tokens = smollm2.tokenizer.convert_ids_to_tokens(smollm2.tokenizer.encode("Hello world, it's 1234"))
    assert tokens == ["Hello", "Ġworld", ",", "Ġit", "'s", "Ġ", "1", "2", "3", "4"]
    assert smollm2.tokenizer.encode("<|im_end|>") == [smollm2.model.generation_config.eos_token_id]


def test_text_survives_a_round_trip(smollm2):
    # The vocabulary has no token for most control characters, nor for bytes of the rarest scripts.
    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], max_codepoint=0x7FF)))
    def survives(text):
        ids = smollm2.tokenizer.encode(text, add_special_tokens=False)
        assert smollm2.tokenizer.decode(ids) == text

    survives()


def test_a_chat_is_laid_out_with_the_models_own_template(smollm2):
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    text = smollm2.tokenizer.apply_chat_template(chat, tokenize=False)
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.endswith("<|im_start|>assistant\nyes?<|im_end|>\n")


def test_another_architecture_is_refused(gguf_file, gguf_reader, tmp_path, monkeypatch):
    fields = {key: field for key, field in gguf_reader.fields.items() if key != "tokenizer.ggml.pre"}
    monkeypatch.setattr(gguf_llama, "GGUFReader", lambda file: SimpleNamespace(fields=fields))
    with pytest.raises(ModelError, match=r"its tokenizer\.ggml\.pre is None"):
        convert(gguf_file, tmp_path / "other")
    assert not (tmp_path / "other").exists()
