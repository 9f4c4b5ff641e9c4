"""Writes the report files of a run, each as a whole or not at all."""

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

REPORT_FILES: dict[str, Callable[[Evidence], str]] = {
    SUMMARY: lambda evidence: to_json(summary_data(evidence)),
    REPORT: lambda evidence: to_json(add_digest(report_data(evidence))),
    MARKDOWN: markdown.render_markdown,
}
"""The function that makes each report file, by file name."""


def write_reports(evidence: Evidence, folder: Path) -> list[str]:
    """Write every report file into ``folder``. Returns a sentence for each that could not be written."""
    problems = []
    for name, render in REPORT_FILES.items():
        try:
            write_text(folder / name, render(evidence))
        except Exception as error:  # an error in one report must not prevent the others
            problems.append(f"{name} was not written: {type(error).__name__}: {error}")
    return problems


def write_text(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write ``text`` to a file atomically, or fail with OSError; with ``exclusive`` also if the file exists.

    Lone surrogates, such as from the name of a file, are escaped, since UTF-8 cannot encode them.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"), durable=True, exclusive=exclusive)


def reason_unwritable(folder: Path) -> str | None:
    """The reason why nothing can be written below ``folder``, or None. Creates nothing."""
    try:
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except OSError as error:  # the name is too long for any file system
        return error.strerror
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return None
    except OSError as error:
        return f"{nearest}: {error.strerror}"
