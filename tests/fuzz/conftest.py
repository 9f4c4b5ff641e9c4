"""Files of real runs: the report and the journal of one run, and the lock of another."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TRIALS = '''
import pytest
from pytest_unineuron import measure



class Estimate:
    """A value with an interval and what a later run needs to compare it."""

    def __init__(self, value):
        self.value, self.low, self.high, self.method = value, value - 0.05, value + 0.05, "made"
        self.error, self.degrees, self.resolution = 0.02, 15, 0.001
        self.parts = (tuple(value + 0.001 * n for n in range(16)),)

    def p_value(self, bound, *, above):
        return 0.001


@pytest.mark.gt1(source="a paper", primary=True)
def test_passes(unineuron_case):
    """It holds."""
    measure("share", Estimate(0.1 if unineuron_case.control else 0.9), above=0.5, null=0.2)

@pytest.mark.parametrize("variant", ["x", "y"])
@pytest.mark.gt2(source="a paper")
def test_corpora(unineuron_case, unineuron_corpus, variant):
    """It holds on one text."""
    measure("share", 0.1 if unineuron_case.control or unineuron_corpus == "code" else 0.9, above=0.5)
    measure("count", 3, below=10)

@pytest.mark.gt3(source="a paper")
def test_vacuous():
    """It holds everywhere."""
    measure("share", 0.9, above=0.5)

@pytest.mark.gt3(source="a paper")
def test_undecided(unineuron_case):
    """It straddles."""
    measure("share", 0.6, interval=(0.4, 0.8), above=0.5)
    measure("nothing", float("nan"), above=0)

@pytest.mark.gt3(source="a paper")
def test_breaks():
    """It breaks."""
    raise RuntimeError("broken")

@pytest.mark.gt3(source="a paper")
def test_left_out():
    """It is not run."""
'''


@dataclass(frozen=True, repr=False)
class Real:
    """The bytes of real files."""

    report: bytes
    journal: bytes
    lock: bytes

    def __repr__(self):
        return "real files"

    @property
    def data(self):
        """A copy of the data of the report, without its digest."""
        return {key: value for key, value in json.loads(self.report).items() if key != "digest"}

    @property
    def locked(self):
        """A copy of the data of the lock, without its digest."""
        return {key: value for key, value in json.loads(self.lock).items() if key != "digest"}


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """The files of a run of pytest on a file of trials, and of another that writes a lock."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_trials.py").write_text(TRIALS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("UNINEURON_", "PYTEST_"))}
    environment = {**inherited, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--unineuron-model=nano:neox-a",
        "--unineuron-controls=untrained",
        "--unineuron-corpus=news",
        "--unineuron-corpus=code",
        "--unineuron-fail-on=never",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:rerunfailures",
        "-p",
        "no:timeout",
    ]

    def run(*more):
        done = subprocess.run([*command, *more], cwd=folder, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    output = run("--deselect", "test_trials.py::test_left_out")
    report = folder / "evaluation" / "generalization_eval_report.json"
    assert report.exists(), output
    (journal,) = (folder / "evaluation" / "journal").glob("*.jsonl")
    output = run("--unineuron-write-lock=claim.lock", "-k", "passes or corpora or vacuous or undecided")
    assert (folder / "claim.lock").exists(), output
    return Real(report.read_bytes(), journal.read_bytes(), (folder / "claim.lock").read_bytes())
