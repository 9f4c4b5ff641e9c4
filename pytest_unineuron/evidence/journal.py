"""The events of a run, written as they happen, so that a report can be rebuilt if the process dies: JSON lines.

Each line carries a digest of its event, by which a line that was cut off or damaged is noticed.
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
from pytest_unineuron.evidence.events import FINISHED, START

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JOURNAL_FORMAT = 3
JOURNAL_FOLDER = "journal"
SUFFIX = ".jsonl"
MAX_JOURNALS = 20
"""The number of journals that stay in a folder; older ones are deleted."""


class Journal:
    """The journal of a run in progress. An error while writing ends the journal, not the run: see ``problem``."""

    def __init__(self, folder: Path, start: Mapping[str, Any]) -> None:
        self.problem = ""
        self._file: Any = None
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.path = folder / JOURNAL_FOLDER / f"{stamp}{SUFFIX}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            self._fail(error)
        self.write({"kind": START, "format": JOURNAL_FORMAT, **start})

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event and hand it to the system, which keeps it if this process dies."""
        if self._file is None:
            return
        try:
            self._file.write(strict_json.to_json_line({"event": event, "sum": strict_json.json_digest(event)[:16]}))
            self._file.flush()
        except (OSError, ValueError, TypeError) as error:
            self._fail(error)

    def close(self, *, finished: bool) -> None:
        """End the journal; one of a ``finished`` run says so in its last line."""
        if finished:
            self.write({"kind": FINISHED})
        if self._file is not None:
            try:
                self._file.close()
                _remove_old(self.path.parent)
            except OSError as error:
                self._fail(error)
            self._file = None

    def _fail(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        self.problem = f"the journal could not be written ({reason}): if this run dies, its results are lost"
        if self._file is not None:
            with suppress(OSError):  # closing writes what is buffered, which can fail again
                self._file.close()
            self._file = None


@dataclass(frozen=True)
class JournalContent:
    """The contents of a journal: its events in order, and the numbers of its damaged lines."""

    path: Path
    events: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...]

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.events[-1]["kind"] == FINISHED)


def read_journal(path: Path) -> JournalContent:
    """The content of a journal. A last line without its end was being written, and does not count as damaged.

    Raises ReportError for a file that cannot be read, is not a journal, or is one of another version.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # the part after the last line break is incomplete
    except OSError as error:
        raise ReportError(
            f"journal {path}: cannot be read ({error.strerror}); name a file in {JOURNAL_FOLDER}/"
        ) from None
    decoded = [_event(line) for line in lines]
    events = [event for event in decoded if event is not None]
    damaged = tuple(number for number, event in enumerate(decoded, start=1) if event is None)
    if not events or events[0]["kind"] != START:
        raise ReportError(f"journal {path}: does not begin as a journal of pytest-unineuron; it cannot be read")
    if events[0].get("format") != JOURNAL_FORMAT:
        raise ReportError(
            f"journal {path}: is of format {events[0].get('format')}, this version reads {JOURNAL_FORMAT}; "
            "use the version of pytest-unineuron that wrote it"
        )
    return JournalContent(path, tuple(events), damaged)


def _event(line: bytes) -> dict[str, Any] | None:
    """The event on a line, or None if the line is damaged."""
    try:
        data = strict_json.parse_json(line.decode("utf-8"))
        event: dict[str, Any] = data["event"]
        whole = isinstance(event["kind"], str) and strict_json.json_digest(event)[:16] == data["sum"]
    except (ValueError, KeyError, TypeError):
        return None
    return event if whole else None


def _remove_old(folder: Path) -> None:
    with suppress(FileNotFoundError):  # another run may remove them
        for old in sorted(folder.glob(f"*{SUFFIX}"), key=os.path.getmtime)[:-MAX_JOURNALS]:
            old.unlink(missing_ok=True)
