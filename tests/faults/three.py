"""A file of three trials of which the middle one has a fault, and functions that run it."""

import json
import sys
from textwrap import indent

from pytest_unineuron.cli.main import main
from tests.plugin.inner import BLOCKED, ONE, Run

TWO = (*ONE, "--unineuron-model=nano:gpt2-a")
REPORT = "generalization_eval_report.json"
MEASURES = 'measure("size", value, above=0.5)'
TRIALS = """
import os, signal, sys, time


def once():
    "Return whether no process has called this before."
    try:
        os.close(os.open("called", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

{setup}

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_before(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)


@pytest.mark.gt3(source="x", controls=["untrained"])
def test_here({fixtures}):
    value = 0.1 if unineuron_case.control else 0.9
{here}


@pytest.mark.gt3(source="x", controls=["untrained"])
def test_after(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


def write(trials, here=MEASURES, *, fixtures="unineuron_case", setup=""):
    """Write the three trials, with ``here`` as the body of the middle one and ``setup`` before all of them."""
    return trials.write(TRIALS.format(here=indent(here, "    "), fixtures=fixtures, setup=setup))


def run_wrapped(trials, command, *args):
    """Run pytest as the last argument of another command."""
    blocked = [part for name in BLOCKED for part in ("-p", f"no:{name}")]
    return Run(trials.pytester.run(*command, sys.executable, "-m", "pytest", *blocked, *args), *trials.left())


def outcomes(run, model="neox-a"):
    """The outcomes of the three trials on one model, in order: ``"PASS ERROR PASS"``."""
    return " ".join(run.outcome(name, model) for name in ("before", "here", "after"))


def journals(folder):
    """The journals of a folder of reports."""
    return sorted((folder / "journal").glob("*.jsonl"))


def report_from_journal(trials, journal):
    """The report that ``pytest-unineuron report`` makes of a journal, in the folder ``rebuilt``."""
    assert main(["report", str(journal), "--out", str(trials.path / "rebuilt")]) == 0
    return Run(None, None, json.loads((trials.path / "rebuilt" / REPORT).read_text(encoding="utf-8")))
