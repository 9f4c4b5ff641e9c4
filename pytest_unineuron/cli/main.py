"""``pytest-unineuron``: commands on saved reports and locks, the neurons of a model, and the cost of a run."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_unineuron.baseline.gate import ExitStatus
from pytest_unineuron.cli import check, commands, init, neurons, plan
from pytest_unineuron.errors import OptionError, UnineuronError
from pytest_unineuron.options.settings import OPTIONS
from pytest_unineuron.reports import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USAGE = 4
"""The exit status for wrong options, as in pytest."""
DEFAULT_REPORT = Path("evaluation") / write.REPORT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that was typed, and return the exit status."""
    typed = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = int(typed.run(typed))
        sys.stdout.flush()
        return status
    except UnineuronError as error:
        print(error, file=sys.stderr)
        return ExitStatus.BASELINE if not isinstance(error, OptionError) else USAGE
    except BrokenPipeError:  # the reader closed the pipe; without this, Python complains when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(getattr(typed, "status", 0))
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror}; name another", file=sys.stderr)
        return USAGE


class _Parser(argparse.ArgumentParser):
    """Ends with the status of pytest for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pytest-unineuron",
        description="Start a suite; compare, judge, show and accept its saved reports; look at neurons; plan a run.",
        epilog="Exit status: 0 success, 1 a trial broke or a law of check, 4 a wrong option, 20 a criterion FAILs, "
        "21 regression, 22 results were lost, 23 a file is missing or cannot be used, 24 a lock was violated.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, add_arguments, text in COMMANDS:
        command = subparsers.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        add_arguments(command)
    return parser


def _compare_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("before", type=Path, metavar="A", help="a report, or an accepted baseline")
    command.add_argument("after", type=Path, metavar="B", help="a later report")
    _add_html(command, "also write a page that shows both reports side by side")
    _add_options(command, "across", "waive")


def _add_html(command: argparse._ActionsContainer, text: str) -> None:
    command.add_argument("--html", type=Path, metavar="FILE", help=text)


def _gate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("report", type=Path, metavar="REPORT")
    _add_options(command, *commands.GATE_OPTIONS)


def _accept_arguments(command: argparse.ArgumentParser) -> None:
    text = f"default: {DEFAULT_REPORT}"
    command.add_argument("report", type=Path, nargs="?", default=DEFAULT_REPORT, metavar="REPORT", help=text)
    command.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="the file to write")
    command.add_argument("--partial", action="store_true", help="accept a run of which trials were deselected")


def _lock_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the lock to write")
    command.add_argument("pytest", nargs=argparse.REMAINDER, metavar="…", help="evals/ and options of pytest")


def _report_arguments(command: argparse.ArgumentParser) -> None:
    text = "several reports are one page, with a column for each: give --html"
    command.add_argument("files", type=Path, nargs="+", metavar="REPORT|JOURNAL", help=text)
    forms = command.add_mutually_exclusive_group()
    forms.add_argument(
        "--form",
        choices=("terminal", *commands.FORMS),
        default="terminal",
        help="github is Markdown that fits into the summary of a job",
    )
    _add_html(forms, "write the page with charts instead, or that of several reports")
    forms.add_argument("--out", type=Path, metavar="FOLDER", help="write all files of a run into this folder instead")


def _no_arguments(_: argparse.ArgumentParser) -> None: ...


def _validate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", type=Path, nargs="+", metavar="FILE")


def _add_options(command: argparse.ArgumentParser, *names: str) -> None:
    """Add options of the plugin, under their own names."""
    for option in OPTIONS:
        if option.name in names:
            command.add_argument(
                f"--{option.name}",
                dest=option.key,
                action="append" if option.kind is list else "store",
                metavar=option.metavar,
                help=option.help.replace("%", "%%"),
            )


COMMANDS: tuple[tuple[str, Callable[..., int], Callable[[argparse.ArgumentParser], None], str], ...] = (
    ("compare", commands.compare_reports, _compare_arguments, "Show the state of every case of A in B."),
    (
        "gate",
        commands.gate_report,
        _gate_arguments,
        "End with the status that a run with this report would have ended with.",
    ),
    (
        "accept",
        commands.accept_report,
        _accept_arguments,
        "Make a report the baseline that later runs are compared with.",
    ),
    (
        "check",
        check.check_extensions,
        check.add_arguments,
        "Check that an extension of your own obeys the laws of its kind.",
    ),
    (
        "init",
        init.write_starter,
        init.add_arguments,
        "Put a suite to start from into a project: three trials, short names for fixtures, a workflow.",
    ),
    (
        "lock",
        commands.write_lock,
        _lock_arguments,
        "Run the control arms alone and lock bounds, trials, models and texts for the claim.",
    ),
    (
        "neurons",
        neurons.print_neurons,
        neurons.add_arguments,
        "Show the neurons of a model that are highest in a statistic, with their strongest tokens.",
    ),
    (
        "plan",
        plan.print_plan,
        plan.add_arguments,
        "Estimate operations, memory and time of comparing a model with its seeds.",
    ),
    (
        "report",
        commands.show_report,
        _report_arguments,
        "Show a saved report, or the history of several, or rebuild one from the journal of a run that was killed.",
    ),
    ("schema", commands.print_schema, _no_arguments, "Print the JSON Schema of the report."),
    (
        "validate",
        commands.validate_files,
        _validate_arguments,
        "Check that files are complete and that outcomes follow from measurements.",
    ),
)
"""The commands: name, function, function that adds its arguments, and help text."""


if __name__ == "__main__":
    sys.exit(main())
