"""Finished results on disk, one safetensors file each, named by a digest of everything the result depends on.

The metadata of a file hold the key, the description of the tensors, and a digest of both and of the tensors.
Importing this module imports no torch; reading or writing an entry does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from safetensors import SafetensorError

from pytest_unineuron.errors import first_line
from pytest_unineuron.system.machine import GIB, format_gib
from pytest_unineuron.system.paths import PART_SUFFIX, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

ENTRY_SUFFIX, LOCK_SUFFIX = ".safetensors", ".lock"
RESULTS_FOLDER = "statistics"
"""Folder of finished results, below the folder that the store is given, which others share."""
PARTS_FOLDER = "parts"
"""Folder of the parts that each of several processes has finished of a result that is not whole yet."""
ABANDONED_SECONDS = 3600.0
"""Age from which on a file that was being written belongs to a process that was killed."""


@dataclass(frozen=True)
class Entry:
    """One stored result: tensors by name, and a description in plain JSON data of how they belong together."""

    description: Any
    tensors: dict[str, Tensor]


class Store:
    """Entries in a folder, by key: plain JSON data that names everything a result depends on.

    An entry is used only if it is whole and was made for the very key. ``notify`` is given one sentence about each
    entry that is damaged or cannot be written. Beyond ``limit`` bytes the least recently used entries are evicted.
    Several processes may share a folder.
    """

    def __init__(
        self,
        folder: Path,
        limit: float = math.inf,
        notify: Callable[[str], None] = print,
        *,
        name: str = RESULTS_FOLDER,
    ) -> None:
        self.folder = folder / name
        self.limit = limit
        self._notify = notify
        self._writable = True

    def get(self, key: Mapping[str, Any]) -> Entry | None:
        """Return the entry of a key, or None if there is none or it is damaged."""
        path = self._path(key)
        try:
            entry = _decode(path.read_bytes(), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            self.reject(key, error)
            return None
        with suppress(OSError):  # the time of last use, for eviction
            os.utime(path)
        return entry

    def reject(self, key: Mapping[str, Any], error: Exception) -> None:
        """Report that the entry of a key cannot be used."""
        self._notify(f"cache entry {self._path(key).name} cannot be used and is computed again: {first_line(error)}")

    def put(self, key: Mapping[str, Any], entry: Entry) -> bool:
        """Write the entry of a key. Return whether it could be written."""
        if not self._writable:
            return False
        content = _encode(entry, key)
        if len(content) > self.limit:
            self._notify(
                f"a result of {format_gib(len(content))} does not fit into a cache of {format_gib(self.limit)}; "
                f"say --unineuron-cache-size={math.ceil(2 * len(content) / GIB)}"
            )
            return False
        path = self._path(key)
        try:
            write_atomically(path, content)
            self._evict(keep=path)
        except OSError as error:
            self._writable = False
            self._notify(f"the cache {self.folder} cannot be written to: {error.strerror or error}")
            return False
        return True

    def drop(self, key: Mapping[str, Any]) -> None:
        """Remove the entry of a key, if there is one."""
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, key: Mapping[str, Any]) -> Iterator[None]:
        """Hold the lock of a key, waiting for another process that computes the same result.

        Where nothing can be written or locked, nothing is locked.
        """
        lock = FileLock(self._path(key).with_suffix(LOCK_SUFFIX))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError):
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Remove every entry, and nothing else."""
        for suffix in (ENTRY_SUFFIX, LOCK_SUFFIX, PART_SUFFIX):
            for path in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):
                    path.unlink()

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / (hashlib.sha256(_canonical(key)).hexdigest()[:40] + ENTRY_SUFFIX)

    def _evict(self, keep: Path) -> None:
        """Remove the least recently used entries until the rest fits, but never the one that was just written."""
        self._remove_abandoned()
        entries = []
        for path in self.folder.glob(f"*{ENTRY_SUFFIX}"):
            with suppress(FileNotFoundError):  # another process may remove it
                entries.append((path, path.stat()))
        total = sum(stat.st_size for _, stat in entries)
        for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime):
            if total <= self.limit:
                return
            if path != keep:
                total -= stat.st_size
                with suppress(OSError):  # in use, or removed by another process
                    path.unlink(missing_ok=True)

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob(f"*{PART_SUFFIX}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()


def _encode(entry: Entry, key: Mapping[str, Any]) -> bytes:
    """One safetensors file that holds an entry."""
    from safetensors.torch import save

    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = _canonical({"made": made, "key": key, "description": entry.description})
    _, body = _split(save(entry.tensors))
    return save(entry.tensors, metadata={"about": about.decode(), "digest": _entry_digest(about, body)})


def _decode(content: bytes, key: Mapping[str, Any]) -> Entry:
    """The entry that a file holds. Raises ValueError or KeyError if it is damaged or belongs to another key."""
    from safetensors.torch import load

    header, body = _split(content)
    metadata = json.loads(header)["__metadata__"]
    about = metadata["about"].encode()
    if metadata["digest"] != _entry_digest(about, body):
        raise ValueError("it is not what was written")
    said = json.loads(about)
    if _canonical(said["key"]) != _canonical(key):
        raise ValueError("it was made for another key")
    return Entry(said["description"], load(content))


def _split(content: bytes) -> tuple[bytes, memoryview]:
    """The JSON header of a safetensors file, and the numbers behind it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], memoryview(content)[end:]


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, allow_nan=False).encode()


def _entry_digest(about: bytes, body: memoryview) -> str:
    return hashlib.sha256(about + hashlib.sha256(body).digest()).hexdigest()
