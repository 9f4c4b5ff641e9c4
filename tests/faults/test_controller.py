"""The controller: it is killed or interrupted, forks, or shares its folder with another run."""

import signal
import subprocess
import sys
import time

import pytest

from pytest_unineuron.cli.main import main
from tests.faults.three import MEASURES, ONE, REPORT, TWO, journals, outcomes, report_from_journal, write

pytestmark = pytest.mark.fault

COMMAND = (sys.executable, "-m", "pytest", "-q", *ONE)
WAIT = """
from pathlib import Path

def wait_for(found):
    while not found():
        time.sleep(0.05)

def arrived():
    "Return whether the last result of the first trial is in the journal."
    lines = [line for path in Path("evaluation/journal").glob("*") for line in path.read_text().splitlines()]
    return any("test_before[neox-a~" in line and "missed: size" in line for line in lines)
"""
SIGNAL = """
if unineuron_case.id == "neox-a~untrained":
    wait_for(arrived)
    os.kill({process}, signal.{signal})
"""
KILLED_WHEN_OTHER_ENDS = """
if once():
    wait_for(lambda: os.path.exists("other ended"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os._exit(0)", 0),
    ],
)
def test_a_process_that_ends_in_a_trial_leaves_a_journal_and_no_report(trials, end, status):
    """A report that is rebuilt from the journal is incomplete: it fails every gate and cannot be accepted."""
    found = write(trials, f"if unineuron_case.control: {end}\n{MEASURES}").run(*ONE, subprocess=True)
    assert found.ret == status
    assert found.report is None
    (journal,) = journals(trials.path / "evaluation")
    again = report_from_journal(trials, journal)
    assert outcomes(again) == "PASS NA NOT_RUN"
    assert again.report["incomplete"]
    path = str(trials.path / "rebuilt" / REPORT)
    assert main(["gate", path, "--fail-on=never"]) == 22
    assert main(["accept", path, "--baseline", str(trials.path / "baseline.json")]) == 23


def test_a_killed_controller_leaves_the_results_that_had_arrived(trials):
    """They are in the journal, and its workers end."""
    body = SIGNAL.format(process="os.getppid()", signal="SIGKILL")
    found = write(trials, body + MEASURES, setup=WAIT).run("-n2", *TWO, subprocess=True)
    assert found.ret == -signal.SIGKILL
    (journal,) = journals(trials.path / "evaluation")
    assert report_from_journal(trials, journal).outcome("before") == "PASS"


@pytest.mark.parametrize(("workers", "process"), [("-n0", "os.getpid()"), ("-n2", "os.getppid()")])
def test_an_interrupted_run_reports_its_results(trials, workers, process):
    body = SIGNAL.format(process=process, signal="SIGINT")
    trials.pytester.makeconftest("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n")
    found = write(trials, body + MEASURES, setup=WAIT).run(workers, *TWO, subprocess=True)
    assert found.ret == 2
    assert found.outcome("before") == "PASS"
    assert {trial["name"] for trial in found.report["trials"]} == {"before", "here", "after"}


def test_a_killed_run_does_not_affect_another_in_its_folder(trials):
    """The report is that of the run that ended, and each run has its own journal."""
    write(trials, KILLED_WHEN_OTHER_ENDS + MEASURES, setup=WAIT)
    killed = subprocess.Popen(COMMAND, cwd=trials.path, stdout=subprocess.DEVNULL)
    while killed.poll() is None and not (trials.path / "called").exists():
        time.sleep(0.05)
    whole = trials.run(*ONE, subprocess=True)
    (trials.path / "other ended").touch()
    assert (killed.wait(), whole.ret) == (-signal.SIGKILL, 0)
    assert outcomes(whole) == "PASS PASS PASS"
    found = {outcomes(report_from_journal(trials, journal)) for journal in journals(trials.path / "evaluation")}
    assert found == {"PASS PASS PASS", "PASS NOT_RUN NOT_RUN"}


def test_a_process_that_is_killed_while_it_writes_leaves_the_older_report(trials):
    write(trials).run(*ONE)
    path = trials.path / "evaluation" / REPORT
    older = path.read_bytes()
    trials.pytester.makeconftest(
        """
        import os, signal

        os.fsync = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert trials.run(*ONE, subprocess=True).ret == -signal.SIGKILL
    assert path.read_bytes() == older
    assert [outcomes(report_from_journal(trials, j)) for j in journals(trials.path / "evaluation")] == [
        "PASS PASS PASS"
    ] * 2


def test_pytest_exit_with_status_0_is_not_accepted_as_a_baseline(trials):
    found = write(trials, "pytest.exit('enough', returncode=0)").run(*ONE)
    assert outcomes(found) == "PASS NOT_RUN NOT_RUN"
    path = str(trials.path / "evaluation" / REPORT)
    assert main(["accept", path, "--baseline", str(trials.path / "baseline.json")]) == 23


def test_a_trial_that_forks_is_measured_once(trials):
    """The child process goes on as if it were pytest. The pipe is open until both processes have ended."""
    write(trials, f"if not unineuron_case.control and once(): os.fork()\n{MEASURES}")
    assert subprocess.run(COMMAND, cwd=trials.path, stdout=subprocess.PIPE).returncode == 0
    (_, report) = trials.left()
    assert report["incomplete"] == []
    arms = [c["subject"] for t in report["trials"] for s in t["subjects"].values() for c in s["cases"]]
    assert [(arm["outcome"], [m["value"] for m in arm["measurements"]]) for arm in arms] == [("PASS", [0.9])] * 3
