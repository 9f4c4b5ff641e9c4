"""The journal: what was measured outlives the process, and is taken over where nothing it rests on has changed."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from pytest_unineuron.baseline import journal
from pytest_unineuron.cli.main import main
from tests.plugin.inner import PREAMBLE

ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained", "--unineuron-fail-on=never")
CLAIMS = """
import os

def note(case):
    with open("ran.txt", "a") as file:
        file.write(f"{case.id}\\n")

@pytest.mark.gt2(source="x")
def test_corpora(unineuron_case, unineuron_corpus, unineuron_measure):
    note(unineuron_case)
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt3(source="x")
def test_weights(unineuron_case, unineuron_arm):
    note(unineuron_case)
    if unineuron_case.control and os.path.exists("die"):
        os.unlink("die")
        os.kill(os.getpid(), 9)
    measure('size', 0.1 if unineuron_case.control else 0.2, above=0.5)

@pytest.mark.gt3(source="x")
def test_last(unineuron_case):
    note(unineuron_case)
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
ALL = 10
KILLED = (-9, 9)
"""How a killed process ends, here and on Windows."""


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    """The folder of a run that was killed after seven of its ten items, in its eighth."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "test_trials.py").write_text(PREAMBLE + CLAIMS)
    (folder / "die").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ARGS]
    assert subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode in KILLED
    assert len((folder / "ran.txt").read_text().splitlines()) == 8
    (folder / "ran.txt").unlink()
    return folder


@pytest.fixture
def killed(trials, monkeypatch, cut_short):
    """That folder, a fresh one for every test."""
    monkeypatch.chdir(trials.path)
    shutil.copytree(cut_short, trials.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return trials


def ran(trials):
    """How many bodies have run since this was last asked."""
    path = trials.path / "ran.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return len(lines)


def journals(trials, ending):
    return sorted((trials.path / "evaluation" / "journal").glob(f"*{ending}"))


def resumed(run):
    """The arms that were taken over."""
    return sorted(
        f"{trial['name']}~{name}"
        for trial in run.report["trials"]
        for case in trial["subjects"]["neox-a"]["cases"]
        for name, arm in {"subject": case["subject"], **case["controls"]}.items()
        if arm["resumed"]
    )


def content(run):
    """The trials of a report without what tells one attempt from another."""
    text = json.dumps(run.report["trials"]).replace('"resumed": true', '"resumed": false')
    data = json.loads(text)
    for trial in data:
        for case in trial["subjects"]["neox-a"]["cases"]:
            for arm in (case["subject"], *case["controls"].values()):
                arm.pop("duration")
    return data


def test_a_rerun_takes_over_what_was_measured(killed):
    """Only the rest is run; the report is that of an undisturbed run, and says what was resumed."""
    found = killed.run(*ARGS)
    assert found.ret == 0
    assert ran(killed) == 3
    assert len(resumed(found)) == 7
    found.result.stdout.fnmatch_lines(["RESUMED: 7 results were measured by an attempt that was cut short"])
    fresh = killed.run(*ARGS, "--unineuron-resume=never")
    assert ran(killed) == ALL
    assert resumed(fresh) == []
    assert content(fresh) == content(found)
    assert fresh.summary == found.summary


def test_workers_resume_too(killed):
    """What one process measured, others take over."""
    found = killed.run(*ARGS, "-n2", subprocess=True)
    assert found.ret == 0
    assert ran(killed) == 3
    assert len(resumed(found)) == 7


def test_an_attempt_is_resumed_until_a_run_has_come_to_its_end(killed):
    """Then everything is measured anew, and nothing was deleted."""
    assert len(journals(killed, journal.OPEN)) == 1
    killed.run(*ARGS, "-k", "weights")
    assert ran(killed) == 1
    assert len(journals(killed, journal.OPEN)) == 1, "a part of it does not settle it"
    killed.run(*ARGS)
    assert ran(killed) == 3
    assert (len(journals(killed, journal.OPEN)), len(journals(killed, journal.DONE))) == (0, 3)
    killed.run(*ARGS)
    assert ran(killed) == ALL


def test_attempts_add_up(killed):
    """A second attempt that is cut short hides nothing of the first."""
    killed.run(*ARGS, "-k", "last")
    ran(killed)
    (killed.path / "die").touch()
    assert killed.run(*ARGS, subprocess=True).ret in KILLED
    assert ran(killed) == 1
    assert len(journals(killed, journal.OPEN)) == 2
    killed.run(*ARGS)
    assert ran(killed) == 3


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda path: (path / "test_trials.py").write_text((path / "test_trials.py").read_text() + "# more\n"), ALL),
        (lambda path: (path / "conftest.py").write_text("import os\n"), ALL),
        (lambda path: (path / "other.py").write_text("import os\n"), 3),
    ],
)
def test_other_source_is_measured_anew(killed, change, again):
    """The trial's file, or a conftest; not a file that it does not import."""
    change(killed.path)
    killed.run(*ARGS, subprocess=True)
    assert ran(killed) == again


@pytest.mark.parametrize("option", ["tokens=9000", "dtype=float64", "context=64", "reference=code"])
def test_other_settings_are_measured_anew(killed, option):
    """Everything a number depends on."""
    killed.run(*ARGS, f"--unineuron-{option}")
    assert ran(killed) >= 9, "all, but the seven that were resumed under other settings"


def test_settings_that_judge_do_not_measure(killed):
    """Another policy is another verdict on the same numbers."""
    killed.run(*ARGS, "--unineuron-policy=any")
    assert ran(killed) == 3


def test_a_swapped_model_is_measured_anew(trials):
    """By the content of its files."""
    from pytest_unineuron import zoo

    folder = trials.path / "mine"
    shutil.copytree(zoo.folders()["neox-a"], folder)
    args = ("--unineuron-model=mine", *ARGS[1:])
    trials.write(CLAIMS)
    (trials.path / "die").touch()
    trials.run(*args, subprocess=True)
    ran(trials)
    (folder / "model.safetensors").write_bytes((zoo.folders()["neox-b"] / "model.safetensors").read_bytes())
    trials.run(*args)
    assert ran(trials) == ALL


def test_an_error_is_tried_again(trials):
    """What broke was not measured; a run with errors has come to its end all the same."""
    body = CLAIMS + "\n@pytest.mark.gt1(source='x')\ndef test_bad(unineuron_case):\n    raise RuntimeError('broken')\n"
    trials.write(body)
    (trials.path / "die").touch()
    trials.run(*ARGS, subprocess=True)
    found = trials.run(*ARGS)
    assert found.outcome("bad") == "ERROR"
    assert found.ret == 1
    assert journals(trials, journal.OPEN) == []


def test_a_killed_run_is_rebuilt_from_its_journal(killed, capsys):
    """Complete up to the item it died in, and said to be incomplete."""
    (path,) = journals(killed, journal.OPEN)
    assert main(["report", str(path), "--out", "rebuilt"]) == 0
    report = json.loads((killed.path / "rebuilt" / "generalization_eval_report.json").read_text())
    assert report["incomplete"] == ["the run did not come to its end; this is what its journal holds"]
    outcomes = {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in report["trials"]}
    assert outcomes == {
        "corpora[news]": "PASS",
        "corpora[code]": "PASS",
        "corpora[multilingual]": "PASS",
        "weights": "NA",
        "last": "NOT_RUN",
    }
    assert main(["accept", "rebuilt/generalization_eval_report.json", "--baseline", "b.json"]) == 23
    assert "results were lost" in capsys.readouterr().err


def test_what_was_resumed_is_not_accepted(killed, capsys):
    """A baseline is measured in one piece."""
    killed.run(*ARGS)
    assert main(["accept", "--baseline", "b.json"]) == 23
    assert "7 results are those of an earlier attempt" in capsys.readouterr().err
    killed.run(*ARGS)
    assert main(["accept", "--baseline", "b.json"]) == 0


def test_a_damaged_journal_gives_what_is_whole(killed):
    """A line that was changed is measured anew; the run goes on."""
    (path,) = journals(killed, journal.OPEN)
    lines = path.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if '"value": 0.9' in line)
    lines[at] = lines[at].replace('"value": 0.9', '"value": 0.8')
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    found = killed.run(*ARGS)
    assert ran(killed) == 4
    assert len(resumed(found)) == 6
    assert main(["report", str(journals(killed, journal.DONE)[0]), "--form", "summary"]) == 0


def test_a_run_that_goes_on_is_not_resumed(trials):
    """Two runs in one folder: each measures everything, and each writes whole files."""
    slow = CLAIMS.replace("def note(case):", "def note(case):\n    import time; time.sleep(0.2)")
    trials.write(slow)
    command = [sys.executable, "-m", "pytest", "-q", *ARGS]
    first = subprocess.Popen(command, cwd=trials.path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not journals(trials, journal.OPEN) or b"took" not in journals(trials, journal.OPEN)[0].read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = trials.run(*ARGS, subprocess=True)
    assert first.wait() == second.ret == 0
    assert resumed(second) == []
    assert ran(trials) == 2 * ALL
    assert len(journals(trials, journal.DONE)) == 2


def test_a_journal_that_cannot_be_written_costs_no_result(trials):
    """A file stands where its folder should be: told in yellow, and everything else is there."""
    (trials.path / "evaluation").mkdir()
    (trials.path / "evaluation" / "journal").touch()
    found = trials.write(CLAIMS).run(*ARGS)
    assert found.ret == 0
    assert found.outcome("last") == "PASS"
    found.result.stdout.fnmatch_lines(["the journal could not be written (*): this run cannot be resumed"])


def test_an_interrupted_run_is_resumed(trials):
    """Ctrl-C keeps what was measured, and so does -x."""
    body = CLAIMS.replace("os.kill(os.getpid(), 9)", "raise KeyboardInterrupt")
    trials.write(body)
    (trials.path / "die").touch()
    assert trials.run(*ARGS, subprocess=True).ret == 2
    assert ran(trials) == 8
    trials.run(*ARGS)
    assert ran(trials) == 3


def test_finished_journals_are_kept_but_not_for_ever(trials):
    """Twenty of them; what is open is never removed."""
    folder = trials.path / "evaluation" / "journal"
    folder.mkdir(parents=True)
    for i in range(30):
        (folder / f"old{i}{journal.DONE}").write_text("")
        os.utime(folder / f"old{i}{journal.DONE}", (i, i))
    (folder / f"left{journal.OPEN}").write_text("nonsense")
    trials.write(CLAIMS).run(*ARGS)
    assert len(journals(trials, journal.DONE)) == journal.KEPT
    assert len(journals(trials, journal.OPEN)) == 1


def test_a_run_whose_report_could_not_be_written_is_resumed(trials):
    """Its journal stays open, so that the next run need not measure anything again."""
    report = trials.path / "evaluation" / "generalization_eval_report.md"
    report.mkdir(parents=True)
    assert trials.write(CLAIMS).run(*ARGS).ret == 22
    assert ran(trials) == ALL
    report.rmdir()
    assert trials.run(*ARGS).ret == 0
    assert ran(trials) == 0


def test_a_run_of_other_settings_leaves_an_attempt_open(killed):
    """A short run in between does not throw away what a long one measured."""
    killed.run(*ARGS, "--unineuron-tokens=9000")
    ran(killed)
    killed.run(*ARGS)
    assert ran(killed) == 3


def test_a_journal_does_not_forget_a_lock(trials, capsys, monkeypatch):
    """A report that is rebuilt from it is not held to the lock, so nothing passes."""
    monkeypatch.chdir(trials.path)
    trials.write(CLAIMS)
    assert trials.run(*ARGS, "--unineuron-write-lock=claim.lock").ret == 0
    trials.run(*ARGS, "--unineuron-lock=claim.lock")
    (path,) = journals(trials, journal.DONE)
    assert main(["report", str(path), "--out", "rebuilt"]) == 0
    report = json.loads((trials.path / "rebuilt" / "generalization_eval_report.json").read_text())
    assert "it was run under the lock claim.lock" in report["lock_violations"][0]
    assert all(criterion["verdict"] != "PASS" for criterion in report["criteria"].values())
