"""What happens in a run, written down as it happens: JSON lines that outlive the process.

A journal belongs to one attempt at a run and is open until that run has come to its end. Each line carries a
digest of itself, so that a line that was cut off or damaged is told from one that is whole.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import strict_json
from pytest_unineuron.evidence.events import START

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
FOLDER = "journal"
OPEN, DONE = ".open.jsonl", ".done.jsonl"
KEPT = 20
"""Journals of each kind that are kept in a folder: the newest."""


class Journal:
    """The journal of a run that is going on. What cannot be written stops the writing and not the run.

    ``problem`` then says why, in words.
    """

    def __init__(self, folder: Path, start: Mapping[str, Any]) -> None:
        self.problem = ""
        self._lock: Any = None
        self._file: Any = None
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.path = folder / FOLDER / f"{stamp}{OPEN}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _held(self.path)
            self._file = self.path.open("x", encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            self._failed(error)
        self.write({"kind": START, "format": FORMAT, **start})

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event, and hand it to the system, which keeps it if this process dies."""
        if self._file is None:
            return
        try:
            self._file.write(strict_json.as_line({"event": event, "sum": strict_json.digest(event)[:16]}))
            self._file.flush()
        except (OSError, ValueError, TypeError) as error:
            self._failed(error)

    def close(self, *, finished: bool) -> None:
        """No more is to come. A finished run's journal is kept under another name and not resumed."""
        if self._file is not None:
            try:
                self._file.close()
                if finished:
                    settle(self.path)
                    _prune(self.path.parent)
            except OSError as error:
                self._failed(error)
            self._file = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            with suppress(OSError):
                _lock_of(self.path).unlink(missing_ok=True)

    def _failed(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        self.problem = f"the journal could not be written ({reason}): this run cannot be resumed"
        if self._file is not None:
            with suppress(OSError):  # what could not be written still cannot
                self._file.close()
            self._file = None


@dataclass(frozen=True)
class Record:
    """What a journal holds: its events in order, and how many of its lines were damaged."""

    path: Path
    events: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...]


def read(path: Path) -> Record:
    """The events of a journal. A line that is not whole is left out and counted; a last one cut short is not.

    Raises ReportError for a file that is no journal, or one of another version.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # what follows the last line's end was being written
    except OSError as error:
        raise ReportError(f"journal {path}: cannot be read ({error.strerror}); name a file in {FOLDER}/") from None
    events, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            data = strict_json.parse(line.decode("utf-8"))
            event = data["event"]
            whole = isinstance(event["kind"], str) and strict_json.digest(event)[:16] == data["sum"]
        except (ValueError, KeyError, TypeError):
            whole = False
        if whole:
            events.append(event)
        else:
            damaged.append(number)
    if not events or events[0]["kind"] != START:
        raise ReportError(f"journal {path}: does not begin as a journal of pytest-unineuron; it cannot be read")
    if events[0].get("format") != FORMAT:
        raise ReportError(
            f"journal {path}: is of format {events[0].get('format')}, this version reads {FORMAT}; use the version "
            "of pytest-unineuron that wrote it"
        )
    return Record(path, tuple(events), tuple(damaged))


def left_open(folder: Path) -> list[Path]:
    """The journals of attempts that did not come to their end, and that nobody is writing any more."""
    return [path for path in sorted((folder / FOLDER).glob(f"*{OPEN}")) if not _alive(path)]


def settle(path: Path) -> None:
    """Mark a journal as done: its run, or one that resumed it, has come to its end."""
    with suppress(FileNotFoundError):  # another run that resumed it was first
        path.replace(path.with_name(path.name.removesuffix(OPEN) + DONE))
    _lock_of(path).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    for abandoned in sorted(left_open(folder.parent), key=os.path.getmtime)[:-KEPT]:
        settle(abandoned)
    for old in sorted(folder.glob(f"*{DONE}"), key=os.path.getmtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _held(path: Path) -> Any:
    """A lock that the system lets go when this process is gone, however it went."""
    from filelock import FileLock

    lock = FileLock(_lock_of(path), timeout=0)
    lock.acquire()
    return lock


def _alive(path: Path) -> bool:
    """Whether a process is still writing a journal."""
    from filelock import FileLock, Timeout

    if not _lock_of(path).exists():
        return False
    try:
        with FileLock(_lock_of(path), timeout=0):
            return False
    except (Timeout, OSError, NotImplementedError):
        return True
