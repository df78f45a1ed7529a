"""The KV of one context and of one shared prefix, as block addresses: records that :mod:`.holdings` changes."""

from __future__ import annotations

from attrs import Factory, define

__all__ = ["Holding", "SharedBlocks"]


@define(eq=False)
class SharedBlocks:
    """The device blocks of a shared prefix."""

    key: tuple[str, str]
    """Tenant and prefix id."""
    tokens: int
    blocks: list[int] = Factory(list)
    ready_tokens: int = 0
    filler: object | None = None
    """What computes it or brings it back, until it is ready."""
    replaced: bool = False
    """The copy that fills it is overdue: its report frees it, and nobody else sees it."""


@define(eq=False)
class Holding:
    """The KV of one context."""

    name: tuple[str, str, str]
    """Tenant, session and context."""
    prefix: SharedBlocks | None = None
    blocks: list[int] = Factory(list)
    """Its own device blocks, those behind the shared prefix."""
    tokens: int = 0
    """Valid tokens on the device, the prefix included; 0 where it has no block of its own."""
    host: list[int] = Factory(list)
    host_tokens: int = 0
    """Valid tokens on the host, the prefix included."""
    copying: bool = False
    closed: bool = False
    """Its session closed while it was copied: the report frees it."""

    @property
    def table(self) -> list[int]:
        """Addresses of its blocks in the order of its tokens."""
        return self.blocks if self.prefix is None else self.prefix.blocks + self.blocks

    @property
    def resident_tokens(self) -> int:
        """Leading tokens that can be used on the device as they stand."""
        return self.tokens or (self.prefix.ready_tokens if self.prefix is not None else 0)
