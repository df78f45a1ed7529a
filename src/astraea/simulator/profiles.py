"""What an engine costs: constants of a step-time model, by name, each with the source of its numbers.

One step of the engine takes a fixed time, a part per piece of a prompt, a part per token computed in the step, a part
per KV token that it reads, and the quadratic part of prefill; ``step_time.py`` has the formula. All constants are
integers, so that a simulated clock never depends on a platform's floating point.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import NOTHING, field, fields, frozen

from astraea.errors import UsageError
from astraea.units import ceil_div

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["EngineProfile", "engine_names", "load_engine", "to_toml"]

_NS_PER_S = 1_000_000_000


def _text(_profile: object, attribute: Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"engine profile: {attribute.name} must be a text that is not empty, not {value!r}")


def _integer(least: int, value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"engine profile: {name} must be a whole number of at least {least}, not {value!r}")


def _positive(_profile: object, attribute: Attribute[int], value: object) -> None:
    _integer(1, value, attribute.name)


def _natural(_profile: object, attribute: Attribute[int], value: object) -> None:
    _integer(0, value, attribute.name)


@frozen(slots=True, kw_only=True)
class EngineProfile:
    """Constants of one engine; every violation of a bound is a :class:`UsageError` that names the constant."""

    name: str = field(validator=_text)
    summary: str = field(validator=_text)
    """One line: model and device."""
    source: str = field(validator=_text)
    """A sentence: where the constants come from."""
    step_ns: int = field(validator=_positive)
    """Fixed time of a step."""
    prefill_ns_per_token: int = field(validator=_natural)
    """Time for each token that a step computes, prompt and output alike."""
    read_ps_per_context_token: int = field(validator=_natural)
    """Picoseconds for each KV token that a step reads."""
    attention_ps_per_token_pair: int = field(validator=_natural)
    """Picoseconds for each pair of a prompt token computed and a context token before it."""
    pool_tokens: int = field(validator=_positive)
    """KV tokens that the device holds."""
    context_tokens_max: int = field(validator=_positive)
    """Longest prompt plus output of a turn; a job beyond it does not fit the engine."""
    step_tokens_max: int = field(validator=_positive)
    batch_turns_max: int = field(validator=_positive)
    block_tokens: int = field(validator=_positive)
    kv_bytes_per_token: int = field(validator=_positive)
    host_bytes_per_s: int = field(validator=_positive)
    """Bandwidth between device and host, one way."""
    piece_ns: int = field(default=0, validator=_natural)
    """Time that each piece of a prompt adds to a step, however long it is; a file may leave it out."""

    def __attrs_post_init__(self) -> None:
        if self.pool_tokens < self.block_tokens:
            raise UsageError(f"engine profile: pool_tokens must hold one block of {self.block_tokens} tokens at least")

    @property
    def swap_ns_per_token(self) -> int:
        """Time to move the KV of one token between device and host, rounded up."""
        return ceil_div(self.kv_bytes_per_token * _NS_PER_S, self.host_bytes_per_s)


_GPTJ_6B_A100 = EngineProfile(
    name="gptj-6b-a100",
    summary="GPT-J-6B on one A100: 50,000 KV tokens, 512 tokens a step",
    source=(
        "Step time from the forward model in InferCept's published code for GPT-J-6B on A100 (ICML 2024): 10 ms and "
        "0.0463 ms a token; the cost of reading KV and of prefill attention and the pool are assumptions of a "
        "simulation study; KV bytes are 28 layers x 4,096 x keys and values x 2 bytes."
    ),
    step_ns=10_000_000,
    prefill_ns_per_token=46_300,
    read_ps_per_context_token=100_000,
    attention_ps_per_token_pair=400,
    pool_tokens=50_000,
    context_tokens_max=50_000,
    step_tokens_max=512,
    batch_turns_max=256,
    block_tokens=16,
    kv_bytes_per_token=458_752,
    host_bytes_per_s=25_000_000_000,
)

_LLAMA_8B_H100 = EngineProfile(
    name="llama-8b-h100",
    summary="Llama-3.1-8B on one H100: 430,000 KV tokens, 2,048 tokens a step",
    source=(
        "Assumed for a simulation study, not measured: 6 ms, 0.012 ms a token and 5e-5 ms a KV token read; KV bytes "
        "are 32 layers x 8 KV heads x 128 x keys and values x 2 bytes."
    ),
    step_ns=6_000_000,
    prefill_ns_per_token=12_000,
    read_ps_per_context_token=50_000,
    attention_ps_per_token_pair=400,
    pool_tokens=430_000,
    context_tokens_max=131_072,
    step_tokens_max=2_048,
    batch_turns_max=256,
    block_tokens=16,
    kv_bytes_per_token=131_072,
    host_bytes_per_s=25_000_000_000,
)

_BUILT_IN = {profile.name: profile for profile in (_GPTJ_6B_A100, _LLAMA_8B_H100)}


def engine_names() -> tuple[str, ...]:
    """Return the names of the built-in engines, sorted."""
    return tuple(sorted(_BUILT_IN))


def load_engine(name_or_toml_path: str) -> EngineProfile:
    """Return a built-in engine by its name, or the one that a TOML file describes.

    The top-level keys are the fields of :class:`EngineProfile`; one with a default may be left out. Raises
    :class:`UsageError` for an unknown name, a missing file, and an unknown, missing or bad key, which it names.
    """
    if name_or_toml_path in _BUILT_IN:
        return _BUILT_IN[name_or_toml_path]
    path = Path(name_or_toml_path)
    if path.suffix == ".toml":
        return _from_toml(path)
    known = ", ".join(engine_names())
    raise UsageError(f"unknown engine {name_or_toml_path!r}: name one of {known}, or give the path of a .toml file")


def to_toml(profile: EngineProfile) -> str:
    """Return the text of a file that :func:`load_engine` reads as the same profile."""
    lines = []
    for attribute in fields(EngineProfile):
        value = getattr(profile, attribute.name)
        # A JSON text is a TOML text too, once what stands beyond ASCII is escaped.
        lines.append(f"{attribute.name} = {json.dumps(value) if isinstance(value, str) else f'{value:_}'}\n")
    return "".join(lines)


def _from_toml(path: Path) -> EngineProfile:
    """Read one profile from a file; every complaint begins with the file's path."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: the engine profile cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: the engine profile is not valid TOML ({error})") from error
    known = {attribute.name: attribute for attribute in fields(EngineProfile)}
    for key in table:
        if key not in known:
            raise UsageError(f"{path}: unknown key {key!r} in the engine profile")
    for key, attribute in known.items():
        if key not in table and attribute.default is NOTHING:
            raise UsageError(f"{path}: the engine profile lacks the key {key!r}")
    try:
        return EngineProfile(**table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
