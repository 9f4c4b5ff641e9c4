"""``pytest-unineuron``: what can be done with saved files or planned, without a test run, without torch."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.baseline import accept, gate, journal
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.cli import plan
from pytest_unineuron.errors import OptionError, ReportError, UnineuronError
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.evidence.summary import report_data, summary_data
from pytest_unineuron.options.settings import OPTIONS, Settings
from pytest_unineuron.options.sources import read as read_options
from pytest_unineuron.reports import github, markdown, terminal, write
from pytest_unineuron.reports.step import GitHubStep
from pytest_unineuron.system.paths import resolve_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_unineuron.evidence.records import Evidence

USAGE = 4
"""What pytest ends with where it was not told what it needs."""
DEFAULT = Path("evaluation") / write.REPORT
FORMS: dict[str, Callable[[Evidence], str]] = {
    "markdown": markdown.render_markdown,
    "github": lambda evidence: github.job_summary(evidence, gate.Gate(evidence.settings["fail_on"])),
    "summary": lambda evidence: strict_json.to_json(summary_data(evidence)),
}
"""What `report` can print besides what a terminal shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was typed, and return the exit status."""
    said = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = int(said.do(said))
        sys.stdout.flush()
        return status
    except UnineuronError as error:
        print(error, file=sys.stderr)
        return gate.ExitStatus.BASELINE if not isinstance(error, OptionError) else USAGE
    except BrokenPipeError:  # whoever read it has read enough; Python is not to complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(getattr(said, "status", 0))
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror}; name another", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-unineuron",
        description="Compare, judge, show and accept saved reports of `pytest evals/`; plan a run.",
        epilog="Exit status: 0 as it should be, 1 a trial broke, 4 a wrong option, 20 a criterion FAILs, "
        "21 regression, 22 results were lost, 23 a file is missing or cannot be used, 24 a lock was violated.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, do: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(do=do)
        return command

    command = add("compare", _compare, "Show what became of every trial of A in B.")
    command.add_argument("before", type=Path, metavar="A", help="a report, or an accepted baseline")
    command.add_argument("after", type=Path, metavar="B", help="a later report")
    _add_options(command, "across", "waive")

    command = add("gate", _gate, "End with the status that a run with this report would have ended with.")
    command.add_argument("report", type=Path, metavar="REPORT")
    _add_options(command, "baseline", "lock", "fail-on", "tolerate", "across", "waive")

    command = add("accept", _accept, "Make a report the baseline that later runs are compared with.")
    command.add_argument("report", type=Path, nargs="?", default=DEFAULT, metavar="REPORT", help=f"default: {DEFAULT}")
    command.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="the file to write")
    command.add_argument("--partial", action="store_true", help="accept a run of which trials were deselected")

    command = add("lock", _lock, "Run the control arms alone and lock bounds, trials, models and texts for the claim.")
    command.add_argument("file", metavar="FILE", help="the lock to write")
    command.add_argument("pytest", nargs=argparse.REMAINDER, metavar="…", help="evals/ and options of pytest")

    command = add("plan", plan.run, "Say what comparing a model with its seeds takes, without running it.")
    plan.arguments(command)

    command = add("report", _report, "Show a saved report, or rebuild one from the journal of a run that was killed.")
    command.add_argument("file", type=Path, metavar="REPORT|JOURNAL")
    command.add_argument(
        "--form",
        choices=("terminal", "markdown", "github", "summary"),
        default="terminal",
        help="github is Markdown that fits into the summary of a job",
    )
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write all files of a run into this folder instead")

    add("schema", _schema, "Print the JSON Schema of the report.")
    command = add("validate", _validate, "Say whether files are whole and say what their measurements say.")
    command.add_argument("files", type=Path, nargs="+", metavar="FILE")
    return parser


def _add_options(command: argparse.ArgumentParser, *names: str) -> None:
    """The options of the plugin that make sense for a saved file, by their own names."""
    for option in OPTIONS:
        if option.name in names:
            action = "append" if option.kind is list else "store"
            command.add_argument(
                f"--{option.name}",
                dest=option.key,
                action=action,
                metavar=option.metavar,
                help=option.help.replace("%", "%%"),
            )


def _settings(said: argparse.Namespace) -> Settings:
    return read_options(lambda key: getattr(said, key, None), lambda _: None, {})


def _compare(said: argparse.Namespace) -> int:
    said.unineuron_baseline = str(said.before)
    after = saved.read_report(said.after)
    found = gate.Gate.of(after, _settings(said), gate.read_baseline(said.before))
    _show(terminal.gate_lines(found))
    return gate.ExitStatus.BASELINE if found.unusable else 0


def _gate(said: argparse.Namespace) -> int:
    evidence, settings = saved.read_report(said.report), _settings(said)
    if settings.lock:
        moved = Lock.read(resolve_path(settings.lock)).violations(evidence)
        evidence = replace(evidence, violations=tuple(dict.fromkeys([*evidence.violations, *moved])))
    accepted = gate.read_baseline(resolve_path(settings.baseline)) if settings.baseline else None
    found = gate.Gate.of(evidence, settings, accepted)
    own = found.pytest_status(evidence)
    status, reason = found.status(own, evidence)
    reason = reason or ("an item broke or failed" if own else "nothing to object to")
    said.status = status  # stands even if nobody reads to the end
    _show((f"LOCK: {what}", "red") for what in evidence.violations)
    _show(terminal.gate_lines(found))
    print(f"Exit status {int(status)}: {reason}.")
    if step := GitHubStep.of():
        step.print_commands(github.make_annotations(evidence, found, ""))
    return status


def _accept(said: argparse.Namespace) -> int:
    data = strict_json.read_json(said.report, "report", saved.REPORT_HINT)
    evidence = saved.evidence_from_report(data, f"report {said.report}")
    accept.check_acceptable(evidence, partial=said.partial)
    before = gate.read_baseline(said.baseline)
    if not isinstance(before, ReportError):
        for entry in accept.lost_cases(before, evidence):
            print(f"no longer in the baseline: {entry}")
    elif said.baseline.exists():
        print(f"replacing what could not be read: {before}")
    _write(said.baseline, strict_json.to_json(data))
    print(f"Accepted: {said.baseline}. To compare with it: pytest evals/ --unineuron-baseline={said.baseline}")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        write.write_text(path, text)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror}); name another file") from None


def _lock(said: argparse.Namespace) -> int:
    import subprocess

    return subprocess.run(
        [sys.executable, "-m", "pytest", f"--unineuron-write-lock={said.file}", *said.pytest]
    ).returncode


def _report(said: argparse.Namespace) -> int:
    evidence = _evidence(said.file)
    if said.out is not None:
        problems = write.write_reports(evidence, said.out)
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"Written: {said.out}" if not problems else "")
        return gate.ExitStatus.INCOMPLETE if problems else 0
    if said.form == "terminal":
        _show(terminal.report_lines(evidence))
    else:
        sys.stdout.write(FORMS[said.form](evidence))
    return 0


def _evidence(path: Path) -> Evidence:
    """What a report holds, or the journal of a run."""
    if path.suffix != ".jsonl":
        return saved.read_report(path)
    from pytest_unineuron.evidence.collector import replayed

    record = journal.read(path)
    where = f"journal {path}"
    try:
        found = report_data(replayed(record).evidence())
        evidence = saved.evidence_from_report(strict_json.add_digest(found), where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{where}: cannot be understood ({type(error).__name__}: {error}); run it again") from None
    if lock := evidence.settings.get("lock"):
        moved = f"it was run under the lock {lock}, which a journal is not held to: gate … --lock={lock}"
        evidence = replace(evidence, violations=(moved,))
    lost = [f"line {number} of the journal is damaged" for number in record.damaged]
    if not record.finished:
        lost.append("the run did not come to its end; this is what its journal holds")
    return replace(evidence, incomplete=(*evidence.incomplete, *lost), created=str(record.events[0].get("created", "")))


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(saved.report_schema(), indent=2, ensure_ascii=False))
    return 0


def _validate(said: argparse.Namespace) -> int:
    status = 0
    for path in said.files:
        try:
            evidence = _evidence(path)
            print(f"{path}: whole; {terminal.assessment(evidence)}")
        except UnineuronError as error:
            print(error, file=sys.stderr)
            status = gate.ExitStatus.BASELINE
    return status


def _show(lines: object) -> None:
    for text, _ in lines:  # type: ignore[attr-defined]
        print(terminal.escape_commands(text))


if __name__ == "__main__":
    sys.exit(main())
