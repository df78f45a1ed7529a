"""An engine profile of the reference executor on this machine: measured, fitted, and its error told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import asdict, evolve, frozen

from astraea.cli.fitting import StepError, fit_profile, step_error
from astraea.errors import UsageError
from astraea.executor.families import kv_shape
from astraea.executor.machine import device_words
from astraea.executor.measuring import CopySpeed, measure_batches, measure_copies
from astraea.executor.model import LoadedModel
from astraea.simulator.engine import limits_for
from astraea.simulator.profiles import EngineProfile
from astraea.units import ceil_div

__all__ = ["Calibration", "calibrate", "draft_profile", "sized"]

_HELD_OUT = 4
"""Every fourth batch is kept from the fit and judges it."""


@frozen(slots=True, kw_only=True)
class Calibration:
    """What the executor costs here."""

    profile: EngineProfile
    fitted: StepError
    held_out: StepError
    """On batches that the fit did not see."""
    copies: CopySpeed

    def as_json(self) -> dict[str, object]:
        """Return what ``astraea calibrate --json`` prints."""
        profile = self.profile
        return {
            "engine": asdict(profile),
            "fitted": asdict(self.fitted),
            "held_out": asdict(self.held_out),
            "copied_bytes": self.copies.copied_bytes,
            "example_tokens": self.example_tokens,
            "swap_us": self.example_tokens * profile.swap_ns_per_token / 1000,
            "recompute_us": self.recompute_us,
        }

    @property
    def example_tokens(self) -> int:
        """A context of middling length, to compare copying with computing."""
        return max(1, self.profile.context_tokens_max // 2)

    @property
    def recompute_us(self) -> float:
        """Time to compute such a context alone, step after step."""
        profile = self.profile
        steps = ceil_div(self.example_tokens, profile.step_tokens_max)
        return (
            steps * (profile.step_ns + profile.piece_ns) + limits_for(profile).costs.prefill_ns(0, self.example_tokens)
        ) / 1000


def draft_profile(loaded: LoadedModel) -> EngineProfile:
    """Return the profile of a model with middling sizes and nothing measured yet."""
    shape = kv_shape(loaded.model)
    return EngineProfile(
        name=f"{Path(loaded.name).name}-{shape.device.type}",
        summary=f"{loaded.note}; on {shape.device.type}",
        source="Nothing is measured yet.",
        step_ns=1,
        prefill_ns_per_token=1,
        read_ps_per_context_token=0,
        attention_ps_per_token_pair=0,
        pool_tokens=16_384,
        context_tokens_max=min(2_048, loaded.model.config.max_position_embeddings),
        step_tokens_max=256,
        batch_turns_max=32,
        block_tokens=16,
        kv_bytes_per_token=shape.token_bytes,
        host_bytes_per_s=1,
    )


def sized(profile: EngineProfile, loaded: LoadedModel, sizes: Mapping[str, int | None]) -> EngineProfile:
    """Return a profile of a model with the sizes that were asked for, by the names of its fields; ``None`` keeps one.

    Raises :class:`UsageError` for a profile of another model, and for sizes that the model or each other rule out.
    """
    token_bytes = kv_shape(loaded.model).token_bytes
    if profile.kv_bytes_per_token != token_bytes:
        raise UsageError(
            f"the engine {profile.name} keeps {profile.kv_bytes_per_token:,} bytes a token and {loaded.name} "
            f"{token_bytes:,}: it was measured on another model or number type"
        )
    asked = {**asdict(profile), **{name: size for name, size in sizes.items() if size is not None}}
    if sizes.get("context_tokens_max") is None:
        asked["context_tokens_max"] = min(asked["context_tokens_max"], asked["pool_tokens"])
    profile = EngineProfile(**asked)
    trained: int = loaded.model.config.max_position_embeddings
    if profile.context_tokens_max > trained:
        raise UsageError(
            f"{loaded.name} takes contexts of up to {trained:,} tokens, not {profile.context_tokens_max:,}"
        )
    if profile.context_tokens_max > profile.pool_tokens:
        raise UsageError(
            f"a context of {profile.context_tokens_max:,} tokens does not fit a pool of {profile.pool_tokens:,}"
        )
    return profile


def calibrate(loaded: LoadedModel, draft: EngineProfile, *, seconds: float, seed: int) -> Calibration:
    """Return the profile with its constants measured in about so many seconds.

    Raises :class:`UsageError` where too few batches ran in that time.
    """
    limits = limits_for(draft)
    copies = measure_copies(loaded, limits)
    batches = measure_batches(loaded, limits, context_tokens_max=draft.context_tokens_max, seconds=seconds, seed=seed)
    kept = [batch for number, batch in enumerate(batches) if number % _HELD_OUT]
    held_out = batches[::_HELD_OUT]
    profile = fit_profile(evolve(draft, host_bytes_per_s=copies.bytes_per_s), kept)
    error = step_error(profile, held_out)
    profile = evolve(
        profile,
        source=(
            f"Measured by astraea calibrate on {device_words(loaded)}: {len(kept)} batches; on {error.batches} others "
            f"the median error is {error.median:.1%}."
        ),
    )
    return Calibration(profile=profile, fitted=step_error(profile, kept), held_out=error, copies=copies)
