"""Writes the report files of a run, each as a whole or not at all. A run of a part keeps those of the whole suite."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING

from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence.outcome import NOT_APPLICABLE, Outcome
from pytest_unineuron.evidence.saved import read_report
from pytest_unineuron.evidence.strict_json import add_digest, to_json
from pytest_unineuron.evidence.summary import report_data, summary_data
from pytest_unineuron.extend.table import Table
from pytest_unineuron.reports import markdown, notebook
from pytest_unineuron.reports.page import render_page
from pytest_unineuron.system.paths import status_of, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_unineuron.baseline.comparison import Comparison
    from pytest_unineuron.evidence.records import Evidence

SUMMARY = "generalization_eval_summary.json"
REPORT = "generalization_eval_report.json"
MARKDOWN = "generalization_eval_report.md"
PAGE = "generalization_eval_report.html"
NOTEBOOK = "generalization_eval.ipynb"
LAST_WHOLE = "last-whole"
"""The folder of the last report of a whole suite, beside that of a part of it."""

BUILT_IN: dict[str, Callable[[Evidence], str]] = {
    SUMMARY: lambda evidence: to_json(summary_data(evidence)),
    REPORT: lambda evidence: to_json(add_digest(report_data(evidence))),
    MARKDOWN: markdown.render_markdown,
    PAGE: render_page,
    NOTEBOOK: lambda evidence: notebook.render_notebook(evidence, REPORT),
}
REPORT_FILES = Table("report file", BUILT_IN)
"""The function that makes each report file, by file name; others are declared with ``extend.report``."""


def write_reports(
    evidence: Evidence, folder: Path, comparison: Comparison | None = None, before: Evidence | None = None
) -> list[str]:
    """Write every report file into ``folder``. Returns a sentence for each that could not be written.

    The page shows the ``comparison`` with an earlier run, ``before``, where there is one.
    A whole report there moves to ``last-whole`` before one of a part, or without some of its trials, is written.
    """
    try:
        _keep_whole(evidence, folder)
    except OSError as error:
        return [f"nothing was written, since the last whole report could not be moved to {LAST_WHOLE}: {error}"]
    problems = []
    page = partial(render_page, comparison=comparison, before=before)
    renderers: dict[str, Callable[[Evidence], str]] = {**REPORT_FILES, PAGE: page}
    for name, render in renderers.items():
        try:
            write_text(folder / name, render(evidence))
        except Exception as error:  # an error in one report must not prevent the others
            problems.append(f"{name} was not written: {type(error).__name__}: {error}")
    return problems


def measured(evidence: Evidence) -> bool:
    """Whether any item gave an answer. That a question does not apply is one if nothing else went wrong."""
    answers = [arm for arm in evidence.arms if arm.measurements or arm.outcome not in (Outcome.ERROR, Outcome.NOT_RUN)]
    broken = any(arm.outcome is Outcome.ERROR for arm in evidence.arms)
    return any(not broken or NOT_APPLICABLE not in arm.notes for arm in answers)


def _keep_whole(evidence: Evidence, folder: Path) -> None:
    """Move the report of a whole run in ``folder`` aside if this run is of a part or lacks trials. Raises OSError."""
    last, kept = _read(folder), _read(folder / LAST_WHOLE)
    if last is None or last.part or (not evidence.part and _has_trials_of(evidence, last)):
        return
    if kept is None or _has_trials_of(last, kept):
        (folder / LAST_WHOLE).mkdir(exist_ok=True)
        for name in filter(lambda name: (folder / name).exists(), REPORT_FILES):
            (folder / name).replace(folder / LAST_WHOLE / name)


def place_of_whole(evidence: Evidence, folder: Path) -> str:
    """A sentence on where the report is that a run of a part, or of fewer trials, moved; empty if there is none."""
    place = folder / LAST_WHOLE
    if evidence.part:
        return f"The last report of the whole suite before is in {place}." if (place / SUMMARY).exists() else ""
    kept = _read(place)
    fewer = kept is not None and not _has_trials_of(evidence, kept)
    return f"An earlier report, which has trials that this run lacks, is in {place}." if fewer else ""


def _read(folder: Path) -> Evidence | None:
    try:
        return read_report(folder / REPORT)
    except ReportError:
        return None


def _has_trials_of(evidence: Evidence, other: Evidence) -> bool:
    return {record.trial.id for record in other.trials} <= {record.trial.id for record in evidence.trials}


def write_text(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write ``text`` to a file atomically, or fail with OSError; with ``exclusive`` also if the file exists.

    Lone surrogates, such as from the name of a file, are escaped, since UTF-8 cannot encode them.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"), durable=True, exclusive=exclusive)


def reason_unwritable(folder: Path) -> str | None:
    """The reason why nothing can be written below ``folder``, or None. Creates nothing."""
    try:
        nearest = next(parent for parent in (folder, *folder.parents) if status_of(parent) is not None)
    except OSError as error:  # the name is too long for any file system
        return error.strerror
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return None
    except OSError as error:
        return f"{nearest}: {error.strerror}"
