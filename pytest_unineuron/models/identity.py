"""What a model is, told by its files alone: no torch, and nothing is loaded."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from pytest_unineuron.models.source import UNWANTED, WANTED

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_unineuron.models.source import Source


def identity(source: Source) -> str:
    """SHA-256 over every file a model can be made of: configuration, tokenizer, weights.

    An untrained model is drawn from its spec, which is part of it. Raises ModelError for a model of the hub that
    cannot be fetched.
    """
    folder = source.folder
    if folder is None:
        from pytest_unineuron.models.fetch import fetch  # what fetches is not light

        folder = fetch(source)
    unwanted = {path for pattern in UNWANTED for path in folder.glob(pattern)}
    files = sorted({path for pattern in WANTED for path in folder.glob(pattern)} - unwanted)
    total = hashlib.sha256(source.spec.encode() if source.untrained else b"")
    for path in files:
        total.update(path.name.encode() + b"\0" + file_digest(path))
    return total.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file, which is read once as long as size, time of change and inode say that it is the same."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns, found.st_ino)


@cache
def _digest(path: Path, *_state: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
