"""Digests of files, which a large file is not read again for as long as it is the same."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from pytest_unineuron.system.paths import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

NAME = "digests.json"
LARGE = 2**20
"""Bytes from which on a digest is worth remembering on disk."""
SETTLED = 3.0
"""Seconds that a file must have been left alone: within the clock's step it could change once more unseen."""
KEPT = 1000
"""Digests that are remembered, the latest."""


class Digests:
    """SHA-256 of files, remembered in this process and, if a ``folder`` is given, from one run to the next.

    A file is taken for the same while its path, size, inode, and times of change of content and of state are. The
    last of these cannot be set back, as the time of a copied file is, except on Windows, where it is that of making.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def of(self, path: Path) -> bytes:
        """The digest of a file. Raises OSError for one that cannot be read."""
        found = path.stat()  # of what a link leads to
        state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        if self._folder is None or found.st_size < LARGE:
            return _digest(path, *state)
        name = json.dumps([str(path.resolve()), *state])
        if known := self._read().get(name):
            return bytes.fromhex(known)
        digest = _digest(path, *state)
        if time.time() - max(found.st_mtime, found.st_ctime) > SETTLED:
            self._remember(name, digest)
        return digest

    def _read(self) -> dict[str, str]:
        try:
            said = json.loads((self._folder / NAME).read_text(encoding="utf-8"))  # type: ignore[operator]
            return {name: digest for name, digest in said.items() if len(bytes.fromhex(digest)) == 32}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # not there, or damaged: files are read

    def _remember(self, name: str, digest: bytes) -> None:
        assert self._folder is not None
        latest = list({**self._read(), name: digest.hex()}.items())[-KEPT:]
        with suppress(OSError):  # what cannot be remembered is read again
            write_atomically(self._folder / NAME, json.dumps(dict(latest)).encode())


@cache
def _digest(path: Path, *_state: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
