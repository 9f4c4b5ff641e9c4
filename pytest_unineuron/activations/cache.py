"""Finished statistics on disk: what was swept once on this machine is not swept again.

An entry is named by a digest of everything it depends on and consists of two files: the numbers (safetensors), and
beside them, written last, what they are (JSON): the key, how the tensors belong together, and a digest of both.
Importing this imports no torch; to read or write an entry does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from safetensors import SafetensorError

from pytest_unineuron.errors import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

NUMBERS, WORDS, LOCK, PART = ".safetensors", ".json", ".lock", ".part"
FOLDER = "statistics"
"""Below the folder that is given, which others share."""
PARTS = "parts"
"""Beside it: what several processes have finished of a result that is not whole yet."""
ABANDONED = 3600.0
"""Seconds after which half of an entry is taken for what a process left behind that was killed."""


class Cache:
    """Entries in a folder, by key: plain JSON data that names everything a result depends on.

    No entry is ever believed that is not whole and made for the very key; ``tell`` hears, in one sentence each, what
    was damaged and is made again, and what could not be written. Past ``limit`` bytes those that were not used for
    longest go. Several processes may share a folder. What is under another ``name`` is apart from the rest.
    """

    def __init__(
        self, folder: Path, limit: float = math.inf, tell: Callable[[str], None] = print, *, name: str = FOLDER
    ) -> None:
        self.folder = folder / name
        self.limit = limit
        self._tell = tell
        self._writes = True

    def get(self, key: Mapping[str, Any]) -> Any | None:
        """What was kept under a key, or None."""
        from safetensors.torch import load

        from pytest_unineuron.activations.stored import unpacked

        words = self._path(key, WORDS)
        try:
            said = json.loads(words.read_text(encoding="utf-8"))
            numbers = self._path(key, NUMBERS).read_bytes()
            if said["digest"] != _digest(said["entry"], numbers) or said["entry"]["key"] != _plain(key):
                raise ValueError("it is not what was written, or of another origin")
            found = unpacked(said["entry"]["parts"], load(numbers))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            self._tell(f"cache entry {words.name} cannot be used and is made again: {words_of(error)}")
            return None
        with suppress(OSError):  # used just now
            os.utime(words)
        return found

    def put(self, key: Mapping[str, Any], value: Any) -> bool:
        """Keep a result under a key, if that can be done. Whether it was."""
        from safetensors.torch import save

        from pytest_unineuron.activations.stored import packed

        if not self._writes:
            return False
        parts, tensors = packed(value)
        numbers = save(tensors)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"made": made, "key": _plain(key), "parts": parts}
        words = json.dumps({"entry": entry, "digest": _digest(entry, numbers)}, allow_nan=False).encode()
        if (size := len(numbers) + len(words)) > self.limit:
            gib = 2**30
            self._tell(f"a result of {size / gib:.3g} GiB is not kept in a cache of {self.limit / gib:.3g} GiB; "
                       f"say --unineuron-cache-size={math.ceil(2 * size / gib)}")  # fmt: skip
            return False
        try:
            self._write(self._path(key, NUMBERS), numbers)
            self._write(self._path(key, WORDS), words)
            self._evict(keep=self._path(key, WORDS))
        except OSError as error:
            self._writes = False
            self._tell(f"nothing more is kept in the cache {self.folder}: {error.strerror or error}")
            return False
        return True

    def drop(self, key: Mapping[str, Any]) -> None:
        """Remove what was kept under a key, if anything was."""
        for suffix in (WORDS, NUMBERS):
            with suppress(OSError):
                self._path(key, suffix).unlink(missing_ok=True)

    @contextmanager
    def alone(self, key: Mapping[str, Any]) -> Iterator[None]:
        """While open, no other process makes what belongs to this key. Waits for one that is at it."""
        lock = FileLock(self._path(key, LOCK))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError):  # nothing can be written here, or nothing can be locked
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Remove every entry, and nothing else."""
        for suffix in (WORDS, NUMBERS, LOCK, PART):
            for path in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):
                    path.unlink()

    def _path(self, key: Mapping[str, Any], suffix: str) -> Path:
        return self.folder / (hashlib.sha256(_canonical(_plain(key))).hexdigest()[:40] + suffix)

    def _write(self, path: Path, content: bytes) -> None:
        """All of it or nothing, whoever else is writing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _evict(self, keep: Path) -> None:
        """Entries go until all fit: first what was not used for longest, never what was just written."""
        entries: dict[Path, list[os.stat_result]] = {}
        for suffix in (WORDS, NUMBERS, PART):
            for path in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):  # another process may be doing the same
                    found = path.stat()
                    if suffix == WORDS or path.with_suffix(WORDS) in entries:
                        entries.setdefault(path.with_suffix(WORDS), []).append(found)
                    elif time.time() - found.st_mtime > ABANDONED:
                        path.unlink()
        sizes = {words: sum(stat.st_size for stat in stats) for words, stats in entries.items()}
        total = sum(sizes.values())
        for words in sorted(sizes, key=lambda words: entries[words][0].st_mtime):
            if total <= self.limit:
                return
            if words != keep:
                total -= sizes[words]
                for path in (words, words.with_suffix(NUMBERS)):
                    with suppress(OSError):  # somebody else's, or being read where that keeps it
                        path.unlink(missing_ok=True)


def _plain(key: Mapping[str, Any]) -> Any:
    """A key as JSON gives it back."""
    return json.loads(_canonical(key))


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, allow_nan=False).encode()


def _digest(entry: Any, numbers: bytes) -> str:
    return hashlib.sha256(_canonical(entry) + hashlib.sha256(numbers).digest()).hexdigest()
