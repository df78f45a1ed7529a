"""Models on the hub: only what is needed to run one is fetched, and never code or other forms of weights."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from astraea.errors import ModelError

__all__ = ["cached_snapshot", "hub_snapshot"]

_WANTED = ["model*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt"]


def hub_snapshot(name: str, revision: str | None) -> Path:
    """Return the folder of a hub model, fetched where the hub's cache does not have it.

    Raises :class:`~astraea.errors.ModelError` in one sentence for a name that is none, or that cannot be reached.
    """
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    except HFValidationError as error:
        raise ModelError(f"{name}: there is no such folder, and it is no name of a hub model") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{name}: the hub has no such model, or it is not open to you") from error
    except OSError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{name}: the model cannot be fetched from the hub: {first}") from error


def cached_snapshot(name: str) -> Path | None:
    """Return the folder of a hub model if all that is needed is in the hub's cache; nothing is asked of the network."""
    try:
        folder = Path(snapshot_download(name, allow_patterns=_WANTED, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    needed = ("config.json", "model.safetensors", "tokenizer.json")
    return folder if all((folder / file).is_file() for file in needed) else None
