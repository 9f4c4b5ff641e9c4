"""Digests of files, which are stored for large files so that these are read once."""

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

DIGESTS_FILE = "digests.json"
MIN_BYTES = 2**20
"""The size from which on the digest of a file is stored."""
SETTLED_SECONDS = 3.0
"""The age from which on a digest is stored: a younger file could change again within one step of the clock."""
MAX_DIGESTS = 1000
"""The number of digests that are stored, the latest ones."""


class Digests:
    """SHA-256 of files, stored in this process and, if a ``folder`` is given, for later runs.

    A stored digest is used while the path, size, inode, and the times of change of content and of status are the same.
    The last one cannot be set back, except on Windows, where it is the time of creation.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def of(self, path: Path) -> bytes:
        """Return the digest of a file. Raises OSError for one that cannot be read."""
        status = path.stat()  # of the file that a link points to
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if self._folder is None or status.st_size < MIN_BYTES:
            return file_digest(path, *state)
        stored, name = self._folder / DIGESTS_FILE, json.dumps([str(path.resolve()), *state])
        known = _load(stored)
        if name in known:
            return bytes.fromhex(known[name])
        digest = file_digest(path, *state)
        if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS:
            latest = dict(list({**known, name: digest.hex()}.items())[-MAX_DIGESTS:])
            with suppress(OSError):  # then the file is read again next time
                write_atomically(stored, json.dumps(latest).encode())
        return digest


def _load(stored: Path) -> dict[str, str]:
    """The stored digests; none if the file is missing or damaged."""
    try:
        content = json.loads(stored.read_text(encoding="utf-8"))
        return {name: digest for name, digest in content.items() if len(bytes.fromhex(digest)) == 32}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def file_digest(path: Path, *state: int) -> bytes:
    """Return the SHA-256 of a file, read once per process for each ``state`` that it is seen in. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
