"""What a model is, told by its files alone: no torch, and nothing is loaded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.models.loading.source import IGNORED_FILES, MODEL_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_unineuron.models.loading.source import Source


def files_digest(source: Source, digests: Digests | None = None, folder: Path | None = None) -> str:
    """SHA-256 over every file a model can be made of: configuration, tokenizer, weights.

    ``digests`` may know some already, and ``folder`` is where they are, if that is known. An untrained model is drawn
    from its spec, which is part of it. Raises ModelError for a model of the hub that cannot be fetched.
    """
    folder = folder or source.folder
    if folder is None:
        from pytest_unineuron.models.loading.fetch import fetch  # what fetches is not light

        folder = fetch(source)
    unwanted = {path for pattern in IGNORED_FILES for path in folder.glob(pattern)}
    digests = digests or Digests()
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)} - unwanted)
    total = hashlib.sha256(source.spec.encode() if source.untrained else b"")
    for path in files:
        total.update(path.name.encode() + b"\0" + digests.of(path))
    return total.hexdigest()
