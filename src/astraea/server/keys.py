"""Who may ask: keys, each of one tenant. Only their digests are kept, and they are compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from astraea.errors import UsageError
from astraea.server.settings import ENVIRONMENT_PREFIX, Settings, is_loopback

__all__ = ["KEYS_VARIABLE", "OPEN_TENANT", "Keys", "read_keys"]

KEYS_VARIABLE = f"{ENVIRONMENT_PREFIX}API_KEYS"
OPEN_TENANT = "default"
"""Whose requests are where no key is asked for."""
_KEY_CHARS_MIN = 8


class Keys:
    """The keys of one server; without any, everybody is one tenant."""

    def __init__(self, keys: Iterable[tuple[str, str]] = ()) -> None:
        """``keys``: pairs of a tenant's name and one of its keys."""
        self._tenants = [(_digest(key), tenant) for tenant, key in keys]

    def __len__(self) -> int:
        return len(self._tenants)

    def tenant_of(self, key: str | None) -> str | None:
        """Return whose key it is, ``None`` for nobody's; every key is compared, whichever it is."""
        if not self._tenants:
            return OPEN_TENANT
        asked, found = _digest(key or ""), None
        for digest, tenant in self._tenants:
            if hmac.compare_digest(digest, asked):
                found = tenant
        return found


def read_keys(settings: Settings, environment: Mapping[str, str]) -> Keys:
    """Return the keys of the file and of the environment.

    Raises :class:`UsageError` for what is no key, and for none at all on an address that others reach.
    """
    lines = environment.get(KEYS_VARIABLE, "").split(",")
    if settings.keys_file is not None:
        try:
            lines += settings.keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{settings.keys_file}: the keys cannot be read: {error}") from error
    keys = [_key(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys and not is_loopback(settings.host):
        raise UsageError(
            f"others can reach {settings.host}, so a key is needed: set {KEYS_VARIABLE} or keys_file, "
            "or listen on 127.0.0.1"
        )
    return Keys(keys)


def _key(words: list[str]) -> tuple[str, str]:
    if len(words) > 2 or len(words[-1]) < _KEY_CHARS_MIN:  # noqa: PLR2004 - a name and a key
        raise UsageError(f"a key has at least {_KEY_CHARS_MIN} characters, with its tenant's name and a space before")
    key = words[-1]
    return (words[0] if len(words) > 1 else f"key-{_digest(key).hex()[:12]}"), key


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="replace")).digest()
