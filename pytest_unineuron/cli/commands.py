"""The commands of ``pytest-unineuron`` on saved files. Each takes the parsed arguments and returns the exit status."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.accept import check_acceptable, check_replaceable, lost_cases
from pytest_unineuron.baseline.gate import ExitStatus, Gate, read_baseline
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.cli.own_options import in_own_words, own_options
from pytest_unineuron.errors import OptionError, ReportError, UnineuronError
from pytest_unineuron.evidence import journal, saved, strict_json
from pytest_unineuron.evidence.replay import UNCHECKED, read_evidence
from pytest_unineuron.evidence.summary import summary_data
from pytest_unineuron.options import sources
from pytest_unineuron.reports import github, history, markdown, page, terminal, write
from pytest_unineuron.reports.step import GitHubStep
from pytest_unineuron.system.paths import resolve_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.options.settings import Settings
    from pytest_unineuron.reports.lines import Line

FORMS: dict[str, Callable[[Evidence], str]] = {
    "markdown": markdown.render_markdown,
    "github": lambda evidence: github.job_summary(evidence, Gate(evidence.settings["fail_on"])),
    "summary": lambda evidence: strict_json.to_json(summary_data(evidence)),
}
"""The forms in which ``report`` can print a report, besides that of the terminal."""


HTML = b"<!doctype html"
GATE_OPTIONS = ("baseline", "lock", "fail-on", "tolerate", "across", "waive")
"""The options of a run that commands on reports have under their own names."""


def compare_reports(typed: argparse.Namespace) -> int:
    """Print the comparison of two reports, or write it as a page; the status says only whether it could be made."""
    typed.unineuron_baseline = str(typed.before)
    before, after = read_baseline(typed.before), read_evidence(typed.after)
    gate = _gate(after, _settings(typed), before)
    _print_gate(gate)
    if typed.html is not None and not isinstance(before, ReportError):
        _write_page(typed.html, page.render_page(after, gate.comparison, before))
    return ExitStatus.BASELINE if gate.unusable else 0


def gate_report(typed: argparse.Namespace) -> int:
    """Print the reasons for the status of a run with this report, annotate on GitHub, and return that status."""
    evidence, settings = read_evidence(typed.report), _settings(typed)
    if settings.lock:
        known = [each for each in evidence.violations if not each.startswith(UNCHECKED)]
        violations = Lock.read(resolve_path(settings.lock)).violations(evidence)
        evidence = replace(evidence, violations=tuple(dict.fromkeys([*known, *violations])))
    accepted = read_baseline(resolve_path(settings.baseline)) if settings.baseline else None
    gate = _gate(evidence, settings, accepted)
    own = gate.pytest_status(evidence)
    status, reason = gate.status(own, evidence)
    reason = reason or ("an item broke or failed, or a trial missed its bound" if own else "nothing fails it")
    typed.status = status  # main returns it even if the reader closes the pipe before the end
    _print((f"LOCK: {violation}", "red") for violation in evidence.violations)
    _print_gate(gate)
    print(f"Exit status {int(status)}: {reason}.")
    if step := GitHubStep.of():
        step.print_commands(github.make_annotations(evidence, gate, ""))
    return status


def accept_report(typed: argparse.Namespace) -> int:
    """Write a report as the baseline, and print the cases that the old baseline held and this one does not.

    Raises ReportError for a report that cannot be read or accepted, and OptionError for a file that is not replaced.
    """
    if typed.report.suffix == journal.SUFFIX:
        raise OptionError(f"{typed.report} is a journal; first: pytest-unineuron report {typed.report} --out FOLDER")
    data = strict_json.read_json(typed.report, "report", saved.REPORT_HINT)
    evidence = saved.evidence_from_report(data, f"report {typed.report}")
    check_acceptable(evidence, partial=typed.partial)
    check_replaceable(typed.baseline)
    before = read_baseline(typed.baseline)
    if not isinstance(before, ReportError):
        for case in lost_cases(before, evidence):
            print(f"no longer in the baseline: {case}")
    elif typed.baseline.exists():
        print(f"replacing what could not be read: {before}")
    try:
        write.write_text(typed.baseline, strict_json.to_json(data))
    except OSError as error:
        raise OptionError(f"{typed.baseline}: cannot be written ({error.strerror}); name another file") from None
    quoted = shlex.quote(str(typed.baseline))
    print(f"Accepted: {typed.baseline}. To compare with it: pytest evals/ --unineuron-baseline={quoted}")
    return 0


def write_lock(typed: argparse.Namespace) -> int:
    """Run pytest on the control arms alone, writing a lock."""
    command = [sys.executable, "-m", "pytest", f"--unineuron-write-lock={typed.file}", *typed.pytest]
    return subprocess.run(command).returncode


def show_report(typed: argparse.Namespace) -> int:
    """Print a report or a journal in one form, or write all report files. Several files are one page."""
    if len(typed.files) > 1:
        return _show_history(typed)
    evidence = read_evidence(typed.files[0])
    if typed.out is not None:
        problems = write.write_reports(evidence, typed.out)
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print(f"Written: {typed.out}")
        return ExitStatus.INCOMPLETE if problems else 0
    if typed.html is not None:
        _write_page(typed.html, page.render_page(evidence))
    elif typed.form == "terminal":
        _print(terminal.report_lines(evidence, shutil.get_terminal_size().columns))
    else:
        sys.stdout.write(FORMS[typed.form](evidence))
    return 0


def _show_history(typed: argparse.Namespace) -> int:
    """Write the page of several reports. Raises OptionError without the name of a file for it."""
    if typed.html is None:
        count = len(typed.files)
        raise OptionError(f"{count} reports were named, which are shown as one page: give --html FILE")
    names = [str(path.parent if path.name == write.REPORT else path) for path in typed.files]
    reports = [history.NamedReport(name, read_evidence(path)) for name, path in zip(names, typed.files, strict=True)]
    _write_page(typed.html, history.render_history(reports))
    return 0


def _write_page(path: Path, text: str) -> None:
    """Write a page and print where it is. Raises OptionError if it cannot be written, or another file is there."""
    try:
        if path.is_file() and (path.read_bytes()[: len(HTML)].lower() or HTML) != HTML:
            raise OptionError(f"--html {path}: is there and is no page; name another file, or remove it")
        write.write_text(path, text)
    except OSError as error:
        raise OptionError(f"--html {path}: cannot be written ({error.strerror}); name another file") from None
    print(f"Written: {path}")


def print_schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema of the report."""
    print(json.dumps(saved.report_schema(), indent=2, ensure_ascii=False))
    return 0


def validate_files(typed: argparse.Namespace) -> int:
    """Print one line for each file: its overall assessment, or why it cannot be used."""
    status = 0
    for path in typed.files:
        try:
            print(f"{path}: valid; {terminal.assessment(read_evidence(path))}")
        except UnineuronError as error:
            print(error, file=sys.stderr)
            status = ExitStatus.BASELINE
    return status


def _settings(typed: argparse.Namespace) -> Settings:
    with own_options(GATE_OPTIONS):
        return sources.read(lambda key: getattr(typed, key, None), lambda _: None, {})


def _gate(evidence: Evidence, settings: Settings, accepted: Evidence | ReportError | None) -> Gate:
    with own_options(GATE_OPTIONS):
        return Gate.of(evidence, settings, accepted)


def _print_gate(gate: Gate) -> None:
    _print((in_own_words(text, GATE_OPTIONS), style) for text, style in terminal.gate_lines(gate))


def _print(lines: Iterable[Line]) -> None:
    for text, _ in lines:
        print(terminal.escape_commands(text))
