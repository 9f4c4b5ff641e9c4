"""Inner runs of pytest on small trial files, with the reports that they wrote already parsed."""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import entry_points

import pytest

from pytest_unineuron.evidence import saved
from pytest_unineuron.plugin import session  # noqa: F401 - pytester would drop it after an inner run, and import a copy

PREAMBLE = """
import pytest
from pytest_unineuron import measure
"""

HOLDS = """
@pytest.mark.gt1(source="x", controls=["untrained"])
def test_good(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
MISSES = """
@pytest.mark.gt3(source="x", controls=["untrained"])
def test_bad():
    measure('size', 0.2, above=0.5)
"""
ONE = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained")
"""One model and one control: a trial is two items."""
WORKERS = ["-n0", pytest.param("-n2", marks=pytest.mark.slow)]
"""One process, or a controller with two workers, to be parametrized."""
BLOCKED = ("cacheprovider", *sorted(set(entry_points(group="pytest11").names) - {"unineuron", "xdist"}))
"""Plugins that are off in inner runs unless ``-p NAME`` asks for one, so that no test depends on which are installed.
Some, such as that of Hypothesis, take longer to import than most inner runs take."""


@dataclass
class Run:
    """One finished inner run. ``summary`` and ``report`` are None if the files were not written."""

    result: object
    summary: dict | None
    report: dict | None

    @property
    def ret(self):
        """The exit status."""
        return int(self.result.ret)

    @property
    def shown(self):
        """What stands on the terminal, without its line breaks."""
        return " ".join(self.result.stdout.str().split())

    def outcome(self, name, model="neox-a"):
        """The outcome of one trial on one model."""
        return self.trial(name)["subjects"][model]["outcome"]

    def reason(self, name, model="neox-a"):
        """The reason for the outcome of one trial on one model."""
        return self.trial(name)["subjects"][model]["reason"]

    def trial(self, name):
        """One trial's entry in the report."""
        (found,) = [trial for trial in self.report["trials"] if trial["name"] == name]
        return found

    def arms(self, name, model="neox-a"):
        """The control arms of a trial's only case, by name."""
        (case,) = self.trial(name)["subjects"][model]["cases"]
        return case["controls"]


class Inner:
    """Writes and runs files of trials."""

    def __init__(self, pytester):
        self.pytester = pytester
        self.path = pytester.path

    def write(self, body, name="test_trials.py"):
        """Write one test file."""
        # Until pytest 9.2, bytecode is compared with its source by size and by second, which misses quick changes.
        shutil.rmtree(self.path / "__pycache__", ignore_errors=True)
        (self.path / name).write_text(PREAMBLE + body, encoding="utf-8")
        return self

    def run(self, *args, subprocess=False, **options):
        """Run pytest on everything written, without the plugins in ``BLOCKED``."""
        arguments = [*map(str, args)]
        command = [part for name in BLOCKED if name not in arguments for part in ("-p", f"no:{name}")]
        command += arguments
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        return Run(run(*command, **options), *self.left())

    def left(self):
        """Return the summary and the report that a run wrote, parsed; None for a file that is not there."""
        out = self.path / "evaluation"
        if (report := out / "generalization_eval_report.json").is_file():
            saved.read_report(report)  # every report must follow its schema
        return [_parsed(out / f"generalization_eval_{part}.json") for part in ("summary", "report")]


def _parsed(path):
    def refuse(constant):
        raise AssertionError(f"{path} holds {constant}, which is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse) if path.exists() else None
