"""A digest of all files of a model, computed without torch and without loading the model."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading.source import IGNORED_FILES, MODEL_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_unineuron.models.loading.source import Source


def files_digest(source: Source, digests: Digests | None = None, folder: Path | None = None) -> str:
    """SHA-256 over every file of a model: configuration, tokenizer and weights.

    ``digests`` may know those of some files, and ``folder`` is the folder of the model if it is known. For an
    untrained model its spec is included, which seeds it. Raises ModelError for a model that cannot be downloaded, or a
    file that cannot be read.
    """
    folder = folder or source.folder
    if folder is None:
        from pytest_unineuron.models.loading.fetch import fetch  # imports the library of the hub

        folder = fetch(source)
    files = [folder / source.gguf] if source.gguf else _files(folder)
    total = hashlib.sha256(source.spec.encode() if source.untrained else b"")
    digests = digests or Digests()
    for path in files:
        try:
            total.update(path.name.encode() + b"\0" + digests.of(path))
        except OSError as error:  # a broken link, or no file
            raise ModelError(
                f"model {source.spec}: {path.name} cannot be read: {error.strerror}; fetch it again"
            ) from error
    return total.hexdigest()


def _files(folder: Path) -> list[Path]:
    """The files of a model in a folder, in the order of their names."""
    unwanted = {path for pattern in IGNORED_FILES for path in folder.glob(pattern)}
    return sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)} - unwanted)
