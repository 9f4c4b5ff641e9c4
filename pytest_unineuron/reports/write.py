"""Files that are there whole or not at all."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.strict_json import add_digest, to_json
from pytest_unineuron.evidence.summary import report_data, summary_data
from pytest_unineuron.reports import markdown
from pytest_unineuron.system.paths import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_unineuron.evidence.records import Evidence

SUMMARY = "generalization_eval_summary.json"
REPORT = "generalization_eval_report.json"
MARKDOWN = "generalization_eval_report.md"

FORMS: dict[str, Callable[[Evidence], str]] = {
    SUMMARY: lambda evidence: to_json(summary_data(evidence)),
    REPORT: lambda evidence: to_json(add_digest(report_data(evidence))),
    MARKDOWN: markdown.render,
}
"""What is written of a run, by file name."""


def write_all(evidence: Evidence, folder: Path) -> list[str]:
    """Write every form, each on its own, so that one that fails does not take the others along. Returns what failed."""
    problems = []
    for name, form in FORMS.items():
        try:
            write_text(folder / name, form(evidence))
        except Exception as error:  # a report that fails must not hide the others
            problems.append(f"{name} was not written: {type(error).__name__}: {error}")
    return problems


def write_text(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write ``text`` to a file, whole or not at all; ``exclusive`` fails if the file exists. Raises OSError.

    Characters that UTF-8 cannot hold (half a surrogate pair from a file's name) are escaped.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"), durable=True, exclusive=exclusive)


def obstacle(folder: Path) -> str | None:
    """Why nothing can be written below ``folder``, or None. Creates nothing."""
    try:
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except OSError as error:  # a name longer than any file system takes
        return error.strerror
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return None
    except OSError as error:
        return f"{nearest}: {error.strerror}"
