"""Every bound of the scheduler in one place, each with its unit and the reason for its default.

``Limits`` says how large things may get and what the engine costs. The few numbers that are the *policy's* taste stand
apart, in :class:`Tuning`, so that a bound is never mistaken for a preference.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs import validators as v

from astraea.units import blocks_for

__all__ = ["EngineCosts", "Limits", "Tuning"]

_positive = [v.instance_of(int), v.gt(0)]
_natural = [v.instance_of(int), v.ge(0)]


@frozen(slots=True, kw_only=True)
class EngineCosts:
    """What the engine takes for its work. Estimates rest on these; no claim does."""

    step_ns: int = field(default=6_000_000, validator=_positive)
    """Fixed time of one step; default: an 8B model on an H100."""
    prefill_ns_per_token: int = field(default=12_000, validator=_natural)
    """Time a computed token adds to a step."""
    read_ps_per_context_token: int = field(default=50_000, validator=_natural)
    """Time that each KV token a turn holds adds to a step."""
    attention_ps_per_token_pair: int = field(default=400, validator=_natural)
    """Prefill attention: time per (new token, context token) pair."""
    swap_ns_per_token: int = field(default=5_243, validator=_positive)
    """Copy of one token's KV between device and host, one way; default: 128 KiB a token at 25 GB/s."""

    def decode_ns(self, context_tokens: int, output_tokens: int) -> int:
        """Return the engine time in ns that ``output_tokens`` decode steps of one turn add to its batch."""
        read_ns = self.read_ps_per_context_token * context_tokens // 1000
        return output_tokens * (self.prefill_ns_per_token + read_ns)

    def prefill_ns(self, start_tokens: int, new_tokens: int) -> int:
        """Return the engine time in ns to compute ``new_tokens`` after ``start_tokens`` of KV that are held."""
        pairs = new_tokens * start_tokens + new_tokens * new_tokens // 2
        return self.prefill_ns_per_token * new_tokens + self.attention_ps_per_token_pair * pairs // 1000


@frozen(slots=True, kw_only=True)
class Tuning:
    """The preferences of Astraea's own policy; ``docs/design.md`` section 7 says what each is for."""

    exponent_inverse: int = field(default=8, validator=_positive)
    """The response ratio is ``wait^(1/n) / size`` with this n; 1 is the textbook ratio."""
    resume_permille: int = field(default=750, validator=[*_natural, v.le(1000)])
    """How much of a turn's size its resident cache takes off, in thousandths."""
    keep_tenths: int = field(default=35, validator=_natural)
    """A waiting cache is kept while its expected wait is below this many tenths of the pool's refill time."""
    growth_permille: int = field(default=1_000, validator=_natural)
    """Share of the active jobs' expected growth that a start leaves free, in thousandths."""
    growth_cap_permille: int = field(default=300, validator=[*_natural, v.le(1000)])
    """Most of the pool that this headroom may take, in thousandths."""
    shrinkage: int = field(default=5, validator=_natural)
    """Weight of the coarser cell against the samples of a finer one, in samples."""
    prior_output_tokens: int = field(default=300, validator=_positive)
    """Output of a turn before any has been seen."""
    prior_remaining_tokens: int = field(default=1_500, validator=_positive)
    """Tokens that a job still computes before any has ended."""
    prior_tool_wait_us: int = field(default=1_000_000, validator=_positive)
    """Tool wait before any has been seen."""


@frozen(slots=True, kw_only=True)
class Limits:
    """How large things may get. Pools and step sizes describe the engine; the rest protects it."""

    device_blocks: int = field(validator=_positive)
    """KV blocks of the device pool; the engine knows."""
    host_blocks: int = field(default=0, validator=_natural)
    """KV blocks of the host pool; 0 means that nothing is swapped."""
    block_tokens: int = field(default=16, validator=_positive)
    """Tokens a KV block; 16 is what vLLM and most paged engines use."""
    step_tokens_max: int = field(default=2_048, validator=_positive)
    """Tokens computed in one step; beyond it a step is compute-bound and only gets longer."""
    batch_turns_max: int = field(default=256, validator=_positive)
    """Turns in one batch; the engine's slot count."""
    steps_max: int = field(default=1_024, validator=_positive)
    """Steps of one ``RunBatch``; bounds how long a driver may go without asking."""
    bypass_max: int = field(default=8_192, validator=_natural)
    """K of LIVE-1, in dispatches over a job's life: 200 jobs of 40 turns. Lower serves the old sooner, others later."""
    preemptions_max: int = field(default=3, validator=_natural)
    """P of LIVE-3: then the turn reserves its maximum; a few, since each costs a recomputation."""
    growth_ahead_steps: int = field(default=4, validator=_positive)
    """Steps of growth that one eviction makes room for; few, since each block that goes early is computed again."""
    blocked_scan_max: int = field(default=256, validator=_positive)
    """Blocked turns looked at in one ``decide``; bounds its time where very many hold a cache."""
    turns_max: int = field(default=200_000, validator=_positive)
    """Live turns; bounds memory and the time of one ``decide``."""
    tenant_turns_max: int = field(default=200_000, validator=_positive)
    """Live turns of one tenant; set it lower where tenants share an engine."""
    tenant_kv_blocks_max: int | None = field(default=None, validator=v.optional(_positive))
    """Device blocks that one tenant's running turns may hold; ``None`` means no cap."""
    retry_after_us: int = field(default=1_000_000, validator=_positive)
    """What a full queue tells a refused client; a second is long for a step and short for a person."""
    costs: EngineCosts = field(factory=EngineCosts, validator=v.instance_of(EngineCosts))
    tuning: Tuning = field(factory=Tuning, validator=v.instance_of(Tuning))

    @property
    def device_tokens(self) -> int:
        """Tokens that the device pool holds."""
        return self.device_blocks * self.block_tokens

    def blocks_for(self, tokens: int) -> int:
        """Return the KV blocks that ``tokens`` tokens fill."""
        return blocks_for(tokens, self.block_tokens)
