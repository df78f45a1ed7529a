"""``astraea bench executor``: the shape of what it prints, and that all three do the same work."""

from __future__ import annotations

import json

import pytest
import torch

from astraea.cli.app import run
from astraea.errors import InvariantError
from astraea.executor import speed
from astraea.executor.families import kv_shape
from astraea.executor.model import load_model
from astraea.executor.requests import Finish
from astraea.executor.runner import Engine


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(speed, "PROMPTS", 3)
    monkeypatch.setattr(speed, "NEW_TOKENS", 4)
    monkeypatch.setattr(speed, "_SETTINGS", speed._SETTINGS[:1])  # noqa: SLF001 - one is enough
    monkeypatch.setattr(speed, "_DECODE_STEPS", 2)


@pytest.mark.usefixtures("_short")
def test_json_has_the_promised_keys_for_each_model(capsys):
    assert run(["bench", "executor", "--model", "toy", "--rounds", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {"toy"}
    toy = record["toy"]
    for key in ("ratio_generate_batch", "ratio_generate", "swap_ratio"):
        assert toy[key] > 0
    assert set(toy["tokens_per_s"]) == {"equal", "ragged"}
    assert set(toy["decode_step_ms_of_8_turns"]) == {"128", "256", "512", "1024", "2048"}
    ragged = toy["tokens_per_s"]["ragged"]
    assert toy["ratio_generate"] == pytest.approx(ragged["engine"] / ragged["generate"])


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("flags", [[], ["--flex"]])
def test_decode_steps_by_flex_attention_are_timed_where_asked(flags, capsys, monkeypatch):
    monkeypatch.setattr(speed, "decode_ms", lambda _loaded, *, flex=False: {128: 2.0 if flex else 1.0})
    monkeypatch.setattr(speed, "copy_ratio", lambda _loaded: 1.0)
    assert run(["bench", "executor", "--model", "toy", "--rounds", "1", "--json", *flags]) == 0
    toy = json.loads(capsys.readouterr().out)["toy"]
    assert toy["decode_step_ms_of_8_turns"] == {"128": 1.0}
    assert toy.get("decode_step_ms_of_8_turns_flex") == ({"128": 2.0} if flags else None)


def test_the_sizes_are_those_promised():
    assert (speed.PROMPTS, speed.NEW_TOKENS) == (32, 64)
    equal, ragged = (speed.prompts_of(kind, 2_048, 0) for kind in (speed.EQUAL, speed.RAGGED))
    assert len({len(prompt) for prompt in equal}) == 1
    assert len({len(prompt) for prompt in ragged}) > 16
    assert len(equal) == len(ragged) == 32


@pytest.mark.usefixtures("_short")
def test_a_turn_that_the_engine_does_not_finish_is_no_measurement(monkeypatch):
    submit = Engine.submit

    def cancelled(engine, request):
        answer = submit(engine, request)
        engine.cancel(request.turn_id)
        return answer

    monkeypatch.setattr(Engine, "submit", cancelled)
    with pytest.raises(InvariantError, match=Finish.CANCELLED):
        speed.race(load_model("toy"), speed.RAGGED, rounds=1)


def test_a_number_of_rounds_that_is_not_one_is_refused(capsys):
    assert run(["bench", "executor", "--model", "toy", "--rounds", "0"]) == 2
    assert "rounds must be at least 1" in capsys.readouterr().err


def test_both_copies_are_of_the_same_64_mb_at_least(monkeypatch):
    plain, swapped, swap = [], [], speed.copy_all
    monkeypatch.setattr(speed, "_copy", lambda source, _target: plain.append(source.nbytes))
    monkeypatch.setattr(speed, "_COPY_ROUNDS", 2)

    def counted(copier, news, moves, *, to_host):
        swapped.append(sum(move.end_slot - move.first_slot for move in moves))
        swap(copier, news, moves, to_host=to_host)

    monkeypatch.setattr(speed, "copy_all", counted)
    loaded = load_model("toy", dtype=torch.bfloat16)
    assert speed.copy_ratio(loaded) > 0
    assert min(plain) >= 64 << 20
    assert {tokens * kv_shape(loaded.model).token_bytes for tokens in swapped} == set(plain)
