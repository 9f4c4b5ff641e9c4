"""The journal: the results of a run outlive the process, and a report can be rebuilt from them."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence import journal
from pytest_unineuron.reports.write import REPORT
from tests.plugin.inner import PREAMBLE

ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained", "--unineuron-fail-on=never")
CLAIMS = """
import os

@pytest.mark.gt2(source="x", controls=["untrained"])
def test_corpora(unineuron_case, unineuron_corpus, unineuron_measure):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_weights(unineuron_case, unineuron_arm):
    if unineuron_case.control and os.path.exists("die"):
        os.unlink("die")
        os.kill(os.getpid(), 9)
    measure('size', 0.1 if unineuron_case.control else 0.2, above=0.5)

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_last(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
KILLED = (-9, 9)
"""Exit status of a killed process, here and on Windows."""


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    """The folder of a run that was killed after eight of its ten items, in its ninth."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "test_trials.py").write_text(PREAMBLE + CLAIMS)
    (folder / "die").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ARGS]
    assert subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode in KILLED
    return folder


@pytest.fixture
def killed(trials, monkeypatch, cut_short):
    """A copy of the folder of a killed run, as the working directory."""
    monkeypatch.chdir(trials.path)
    shutil.copytree(cut_short, trials.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return trials


def journals(trials):
    return sorted((trials.path / "evaluation" / "journal").glob("*.jsonl"))


def rebuilt(trials):
    """The report that is rebuilt from the only journal."""
    (path,) = journals(trials)
    assert main(["report", str(path), "--out", "rebuilt"]) == 0
    return json.loads((trials.path / "rebuilt" / "generalization_eval_report.json").read_text())


def test_a_killed_run_is_rebuilt_from_its_journal(killed, capsys):
    """The report holds everything up to the item in which the run died, and says that it is incomplete."""
    report = rebuilt(killed)
    assert report["incomplete"] == ["the run did not come to its end; this is what its journal holds"]
    outcomes = {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in report["trials"]}
    assert outcomes == {
        "corpora[news]": "PASS",
        "corpora[code]": "PASS",
        "corpora[multilingual]": "PASS",
        "weights": "NA",
        "last": "NA",
    }
    assert main(["accept", "rebuilt/generalization_eval_report.json", "--baseline", "b.json"]) == 23
    assert "results were lost" in capsys.readouterr().err


def test_a_rerun_measures_everything(killed):
    """A rerun takes no result from the journal of an earlier run, and does not delete that journal."""
    found = killed.run(*ARGS)
    assert found.ret == 0
    assert found.outcome("last") == "PASS"
    assert len(journals(killed)) == 2


def test_a_damaged_line_is_left_out(killed):
    """The report names the line that was changed, and uses the rest of the journal."""
    (path,) = journals(killed)
    lines = path.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if '"value": 0.9' in line)
    lines[at] = lines[at].replace('"value": 0.9', '"value": 0.8')
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    report = rebuilt(killed)
    assert f"line {at + 1} of the journal is damaged" in report["incomplete"]
    assert main(["report", str(path), "--form", "summary"]) == 0


def test_a_journal_that_cannot_be_written_costs_no_result(trials):
    """If a file is in the place of its folder, a warning says so and all results are reported."""
    (trials.path / "evaluation").mkdir()
    (trials.path / "evaluation" / "journal").touch()
    found = trials.write(CLAIMS).run(*ARGS)
    assert found.ret == 0
    assert found.outcome("last") == "PASS"
    found.result.stdout.fnmatch_lines(["the journal could not be written (*): if this run dies, its results are lost"])


def test_an_interrupted_run_keeps_its_results(trials):
    """After Ctrl-C, the report holds everything that was measured before."""
    trials.write(CLAIMS.replace("os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"))
    (trials.path / "die").touch()
    found = trials.run(*ARGS, subprocess=True)
    assert found.ret == 2
    assert (found.outcome("corpora[news]"), found.outcome("last")) == ("PASS", "NA")
    assert found.arms("last")["untrained"]["outcome"] == "NOT_RUN"


def test_old_journals_are_removed(trials):
    """Only the newest journals are kept."""
    folder = trials.path / "evaluation" / "journal"
    folder.mkdir(parents=True)
    for i in range(30):
        (folder / f"old{i}.jsonl").write_text("")
        os.utime(folder / f"old{i}.jsonl", (i, i))
    trials.write(CLAIMS).run(*ARGS)
    assert len(journals(trials)) == journal.MAX_JOURNALS


def test_a_report_rebuilt_from_a_locked_run_passes_nothing(trials, monkeypatch, capsys):
    """No criterion passes in it until it is held to the lock by hand."""
    monkeypatch.chdir(trials.path)
    trials.write(CLAIMS)
    assert trials.run(*ARGS, "--unineuron-write-lock=claim.lock").ret == 0
    trials.run(*ARGS, "--unineuron-lock=claim.lock")
    report = rebuilt(trials)
    assert "it was run under the lock claim.lock" in report["lock_violations"][0]
    (*_, run) = journals(trials)
    for each in (run, trials.path / "rebuilt" / REPORT):
        assert main(["gate", str(each), "--lock=claim.lock", "--fail-on=never"]) == 0
    assert main(["accept", str(run), "--baseline=base.json"]) == 4
    assert "first: pytest-unineuron report" in capsys.readouterr().err
    assert all(criterion["verdict"] != "PASS" for criterion in report["criteria"].values())
