"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.reports import markdown
from pytest_unineuron.reports.strict import as_json, sealed
from pytest_unineuron.reports.summary import report, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_unineuron.reports.evidence import Evidence

SUMMARY = "generalization_eval_summary.json"
REPORT = "generalization_eval_report.json"
MARKDOWN = "generalization_eval_report.md"

FORMS: dict[str, Callable[[Evidence], str]] = {
    SUMMARY: lambda evidence: as_json(summary(evidence)),
    REPORT: lambda evidence: as_json(sealed(report(evidence))),
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


def write_text(path: Path, text: str, *, once: bool = False) -> None:
    """Write ``text`` under another name in the same folder, then rename. Raises OSError.

    ``once`` leaves a file alone that is there already, whoever was first. What UTF-8 cannot hold (half a surrogate
    pair out of a file's name) is spelled out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for their owner alone; a report is for everyone the umask allows.
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)
        if once:
            os.link(partial, path)
            Path(partial).unlink()
        else:
            Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


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
