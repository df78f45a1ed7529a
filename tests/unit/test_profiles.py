from __future__ import annotations

from pathlib import Path

import pytest
from attrs import asdict, evolve

from astraea.errors import UsageError
from astraea.simulator.profiles import EngineProfile, engine_names, load_engine, to_toml

OWN = """
name = "toy"
summary = "a toy engine"
source = "Made up for a test."
step_ns = 1_000
prefill_ns_per_token = 10
read_ps_per_context_token = 0
attention_ps_per_token_pair = 0
pool_tokens = 64
context_tokens_max = 64
step_tokens_max = 32
batch_turns_max = 4
block_tokens = 16
kv_bytes_per_token = 100
host_bytes_per_s = 3_000_000_000
"""


def written(folder: Path, text: str) -> str:
    path = folder / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_built_in_engines_have_the_published_constants():
    assert engine_names() == ("gptj-6b-a100", "llama-8b-h100")
    gptj, llama = (load_engine(name) for name in engine_names())
    assert (gptj.step_ns, gptj.prefill_ns_per_token, gptj.read_ps_per_context_token) == (10_000_000, 46_300, 100_000)
    assert (llama.step_ns, llama.prefill_ns_per_token, llama.read_ps_per_context_token) == (6_000_000, 12_000, 50_000)
    assert (gptj.pool_tokens, gptj.step_tokens_max) == (50_000, 512)
    assert (llama.pool_tokens, llama.step_tokens_max) == (430_000, 2_048)
    assert gptj.kv_bytes_per_token == 28 * 4_096 * 2 * 2
    assert llama.kv_bytes_per_token == 32 * 8 * 128 * 2 * 2
    for engine in (gptj, llama):
        assert (engine.batch_turns_max, engine.block_tokens) == (256, 16)
        assert engine.attention_ps_per_token_pair == 400
        assert engine.host_bytes_per_s == 25_000_000_000
        assert engine.source.endswith(".")


def test_swap_time_is_rounded_up():
    assert load_engine("gptj-6b-a100").swap_ns_per_token == 18_351  # 18,350.08
    assert load_engine("llama-8b-h100").swap_ns_per_token == 5_243  # 5,242.88


def test_own_engine_is_read_from_toml(tmp_path):
    engine = load_engine(written(tmp_path, OWN))
    assert engine.name == "toy"
    assert engine.pool_tokens == 64
    assert engine.read_ps_per_context_token == 0
    assert engine.swap_ns_per_token == 34


def test_a_profile_round_trips_through_its_own_keys(tmp_path):
    engine = load_engine("llama-8b-h100")
    text = "\n".join(
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in asdict(engine).items()
    )
    assert load_engine(written(tmp_path, text)) == engine


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("step_ns = 1_000\n", "", "lacks the key 'step_ns'"),
        ("step_ns = 1_000\n", "step_ns = 1_000\nstep_ms = 1\n", "unknown key 'step_ms'"),
        ("step_ns = 1_000", "step_ns = 0", "step_ns must be a whole number of at least 1, not 0"),
        ("step_ns = 1_000", "step_ns = 1.5", "step_ns must be a whole number of at least 1, not 1.5"),
        ("step_ns = 1_000", "step_ns = true", "step_ns must be a whole number of at least 1, not True"),
        ("prefill_ns_per_token = 10", "prefill_ns_per_token = -1", "prefill_ns_per_token must be"),
        ('name = "toy"', "name = 7", "name must be a text"),
        ('name = "toy"', 'name = " "', "name must be a text"),
        ("pool_tokens = 64", "pool_tokens = 15", "pool_tokens must hold one block of 16"),
        ("step_ns = 1_000", "step_ns =", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_that_names_file_and_key(tmp_path, old, new, complaint):
    path = written(tmp_path, OWN.replace(old, new))
    with pytest.raises(UsageError) as refusal:
        load_engine(path)
    sentence = str(refusal.value)
    assert sentence.startswith(path)
    assert complaint in sentence
    assert "\n" not in sentence


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(UsageError, match="not valid TOML"):
        load_engine(str(path))


def test_unknown_name_and_missing_file_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"unknown engine 'h200': name one of gptj-6b-a100, llama-8b-h100"):
        load_engine("h200")
    with pytest.raises(UsageError, match="cannot be read"):
        load_engine(str(tmp_path / "none.toml"))


def test_a_profile_made_in_code_is_held_to_the_same_bounds():
    with pytest.raises(UsageError, match="host_bytes_per_s"):
        evolve(load_engine("gptj-6b-a100"), host_bytes_per_s=0)
    assert isinstance(evolve(load_engine("gptj-6b-a100"), pool_tokens=16), EngineProfile)


@pytest.mark.parametrize("name", engine_names())
def test_a_profile_that_is_written_is_read_as_it_was(name, tmp_path):
    profile = evolve(load_engine(name), source='Said "so" \\ and\nmeasured at 5 \u00b5s.')
    assert load_engine(written(tmp_path, to_toml(profile))) == profile
