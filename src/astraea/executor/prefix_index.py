"""Which prompts of a tenant begin alike: a prefix is known by the hash of its blocks.

Each block's hash goes over the hash before it and the block's token ids, and the first over the tenant's name. So equal
hashes mean equal tokens of the same tenant from the first token on, and tenants never share.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from astraea.events import SharedPrefix

__all__ = ["PrefixIndex"]

_DIGEST_BYTES = 16


class PrefixIndex:
    """The block hashes of prompts seen lately."""

    def __init__(self, block_tokens: int, hashes_max: int = 1 << 16) -> None:
        """Keep up to ``hashes_max`` hashes, 80 bytes or so each; those unused for longest go first."""
        self._block_tokens = block_tokens
        self._hashes_max = hashes_max
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, tenant: str, prompt: Sequence[int], declared_tokens: int | None) -> SharedPrefix | None:
        """Return the prefix that a new context shares, in whole blocks and shorter than its prompt.

        ``declared_tokens``: what its client says is shared, 0 for nothing; ``None``: the longest beginning that an
        earlier prompt of the tenant had too.
        """
        most = len(prompt) - 1
        if declared_tokens is not None:
            most = min(most, declared_tokens)
        hashes = list(self._hashes(tenant, prompt, most // self._block_tokens))
        if declared_tokens is None:
            known = [self._was_seen(digest) for digest in hashes]
            hashes = hashes[: (*known, False).index(False)]
        if not hashes:
            return None
        return SharedPrefix(hashes[-1].hex(), len(hashes) * self._block_tokens)

    def _was_seen(self, digest: bytes) -> bool:
        """Note a hash; return whether it was known."""
        known = digest in self._seen
        self._seen[digest] = None
        self._seen.move_to_end(digest)
        if len(self._seen) > self._hashes_max:
            self._seen.popitem(last=False)
        return known

    def _hashes(self, tenant: str, prompt: Sequence[int], blocks: int) -> Iterator[bytes]:
        digest = blake2b(tenant.encode(), digest_size=_DIGEST_BYTES).digest()
        for start in range(0, blocks * self._block_tokens, self._block_tokens):
            ids = array("q", prompt[start : start + self._block_tokens])
            digest = blake2b(digest + ids.tobytes(), digest_size=_DIGEST_BYTES).digest()
            yield digest
