"""What a server is started with: flags before the environment, the environment before a TOML file, defaults last.

A variable is called as its field with ``ASTRAEA_`` before it. Keys are no field: they come from a file or from
``ASTRAEA_API_KEYS``, never from a flag, for others on the machine can read command lines.
"""

from __future__ import annotations

import ipaddress
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from astraea.errors import UsageError

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "is_loopback", "read_settings"]

ENVIRONMENT_PREFIX = "ASTRAEA_"

_Count = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """Everything about a server that can be set."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = "default"
    served_model_name: str | None = None
    """What clients call the model; its own name by default."""
    revision: str | None = None
    policy: str = "astraea"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """0 takes a free one."""
    device: str = "cpu"
    dtype: str | None = None
    threads: _Count | None = None
    max_model_len: _Count | None = None
    """Tokens of prompt and output together; as many as the model was made for by default."""
    max_num_seqs: _Count = 32
    """Turns in one batch."""
    kv_tokens: _Count | None = None
    """Tokens of the device pool; four of the longest contexts by default, or what a GiB holds if that is less."""
    host_kv_tokens: Annotated[int, Field(ge=0)] = 0
    max_queue: _Count = 1_024
    """Live turns of all tenants together."""
    max_queue_per_tenant: _Count | None = None
    max_body_bytes: _Count = 4 << 20
    max_connections: _Count = 1_024
    engine: Path | None = None
    """A profile that ``astraea calibrate`` wrote, for what the engine's work costs."""
    measure: bool = True
    """Without a profile: whether to measure it at the start; else it is taken for an 8B model on an H100."""
    keys_file: Path | None = None
    """A file with a line for each key: the key alone, or the tenant's name and the key."""
    allowed_hosts: tuple[str, ...] = ()
    """What the Host header may say; by default the loopback names, or anything on an address that others reach."""
    session_idle_s: _Seconds = 600
    """A session that sends nothing for so long is closed."""
    keep_alive_s: _Seconds = 5
    """After so long without a token, a stream says that it is alive."""
    send_timeout_s: _Seconds = 30
    """A client that takes nothing for so long is given up."""
    receive_timeout_s: _Seconds = 10
    """How long the headers of a request may take, and each further piece of its body."""
    drain_grace_s: _Seconds = 30
    """How long what is under way may go on after SIGTERM."""
    log_format: Literal["console", "json"] = "console"
    record: Path | None = None
    """Where to write the trace of the run."""

    @property
    def model_name(self) -> str:
        """What clients call the model."""
        return self.served_model_name or self.model

    def as_toml(self) -> str:
        """Return all settings as a file that they can be read from; what is unset is a comment."""
        lines = []
        for name, value in self.model_dump(mode="json").items():
            lines.append(f"# {name} is unset" if value is None else f"{name} = {json.dumps(value)}")
        return "\n".join(lines)


def read_settings(flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None) -> Settings:
    """Return the settings; raise :class:`UsageError` that names the field and where it was set."""
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    sources: list[tuple[str, Mapping[str, object]]] = [
        (str(file), _from_file(file) if file is not None else {}),
        ("the environment", _from_environment(environment)),
        ("the command line", {name: value for name, value in flags.items() if value is not None}),
    ]
    for origin, found in sources:
        values |= found
        origins |= dict.fromkeys(found, origin)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{origins[name]}: there is no setting {name}") from error
        raise UsageError(f"{origins[name]}: {name}: {first['msg'].lower()}") from error


def _from_file(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as settings: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in Settings.model_fields:
        value = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if value:
            found[name] = [one.strip() for one in value.split(",")] if name == "allowed_hosts" else value
    return found


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
