"""Which folders load: plain decoders of the known families, in safetensors; anything else is one clear sentence."""

from __future__ import annotations

import json
import shutil

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from astraea.errors import ModelError, UsageError
from astraea.executor.families import FAMILIES
from astraea.executor.model import load_model
from astraea.executor.toy import toy_tokenizer

SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config),
    "mistral": (MistralForCausalLM, MistralConfig),
    "gemma3_text": (Gemma3ForCausalLM, Gemma3TextConfig),
}


def build(family):
    torch.manual_seed(0)
    kind, config = MODELS[family]
    return kind(config(**SMALL))


@pytest.fixture
def llama(tmp_path):
    folder = tmp_path / "llama"
    build("llama").save_pretrained(folder)
    return folder


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refusal(folder):
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_family_is_tested_here():
    assert set(MODELS) == set(FAMILIES)


@pytest.mark.parametrize("family", MODELS)
def test_a_family_loads_as_it_was_saved(family, tmp_path, capfd):
    model = build(family).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    capfd.readouterr()
    loaded = load_model(str(tmp_path / "model"))
    assert type(loaded.model) is type(model)
    assert loaded.model.dtype == torch.bfloat16
    assert not loaded.model.training
    assert loaded.tokenizer is None
    assert family in loaded.note
    assert capfd.readouterr() == ("", ""), "a library does not print"
    saved = model.state_dict()
    assert all(torch.equal(weight, saved[name]) for name, weight in loaded.model.state_dict().items())


def test_the_type_can_be_asked_for_and_the_tokenizer_comes_along(llama):
    toy_tokenizer().save_pretrained(llama)
    loaded = load_model(str(llama), dtype=torch.float64)
    assert loaded.model.dtype == torch.float64
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the same  again")) == "the same  again"
    assert loaded.tokenizer.chat_template == toy_tokenizer().chat_template


def test_another_family_is_refused_by_name(tmp_path):
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=32)).save_pretrained(tmp_path / "gpt2")
    assert "'gpt2' are not computed here, only gemma3_text, llama, mistral, qwen2, qwen3" in refusal(tmp_path / "gpt2")


def test_a_classifier_is_refused(tmp_path):
    LlamaForSequenceClassification(LlamaConfig(**SMALL)).save_pretrained(tmp_path / "judge")
    assert "LlamaForSequenceClassification does not generate text" in refusal(tmp_path / "judge")


def test_quantised_weights_are_refused(llama):
    edit_config(llama, quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantised weights" in refusal(llama)


def test_pickled_weights_are_refused_and_not_opened(llama):
    (llama / "model.safetensors").unlink()
    (llama / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert "pytorch_model.bin, and only safetensors are read" in refusal(llama)


def test_a_folder_without_weights_or_configuration_is_told(llama):
    (llama / "model.safetensors").unlink()
    assert "no weights" in refusal(llama)
    (llama / "config.json").unlink()
    assert "no config.json" in refusal(llama)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_broken_file_is_told(llama, file):
    (llama / file).write_bytes(b"{broken")
    assert "cannot be read" in refusal(llama)


def test_code_that_comes_with_a_model_is_not_run(llama):
    (llama / "evil.py").write_text("raise SystemExit('it was run')")
    edit_config(llama, auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    assert type(load_model(str(llama)).model) is LlamaForCausalLM
    edit_config(llama, model_type="evil")
    refusal(llama)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./nowhere", "there is no such folder"),
        ("/no/such/place", "there is no such folder"),
        ("~/no-such-place", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        ("what is this", "no name of a hub model"),
        (__file__, "this is a file"),
    ],
)
def test_a_name_that_is_nothing_is_told(name, sentence):
    with pytest.raises(ModelError, match=sentence):
        load_model(name)


@pytest.mark.parametrize("device", ["nonsense", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_told(device):
    with pytest.raises(ModelError, match="there is no"):
        load_model("toy", device=device)


def test_a_hub_model_comes_from_its_cache_without_the_hub(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be fetched from the hub"):
        load_model("some/model")
    cached = tmp_path / "hub" / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    shutil.copytree(llama, cached / "snapshots" / "0123abcd")
    assert load_model("some/model").note.startswith("some/model from the hub")
