"""On GitHub: annotations on standard output and a job summary, whatever pytest is told to show."""

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE
from tests.reports.test_github import commands

SUMMARY = "summary.md"
BAD = "FAIL: bad on neox-a"


@pytest.fixture
def job(trials, monkeypatch):
    """A step of a job whose repository lies in the folder above."""
    for name, value in (
        ("ACTIONS", "true"),
        ("STEP_SUMMARY", trials.path / SUMMARY),
        ("WORKSPACE", trials.path.parent),
    ):
        monkeypatch.setenv(f"GITHUB_{name}", str(value))
    (trials.path / SUMMARY).write_text("before\n")
    return trials


def told(found):
    return [(level, said.get("title")) for level, said, _ in commands(found.result.stdout.str())]


@pytest.mark.parametrize(
    "args",
    ["", "-q", "-qq", "--no-summary", "-p no:terminal", "-s", "-p no:terminal -n1", "--color=yes"],
)
def test_annotations_and_summary_are_there_whatever_is_shown(job, args):
    """Once, at the trial's place in the repository."""
    found = job.write(HOLDS + MISSES).run(*ONE, *args.split())
    assert found.ret == 1
    ((level, said, message),) = commands(found.result.stdout.str())
    assert (level, said) == ("error", {"file": f"{job.path.name}/test_trials.py", "line": "9", "title": BAD})
    assert message.startswith("missed: size = 0.2, claimed > 0.5\npytest test_trials.py::test_bad ")
    text = (job.path / SUMMARY).read_text(encoding="utf-8")
    assert text.startswith("before\n# Do universal neurons generalize?\n")
    assert text.count("# Do universal") == 1
    assert "bad on neox-a: missed" in text


def test_elsewhere_nothing_of_it_is_there(job, monkeypatch):
    """A summary's name alone means nothing."""
    monkeypatch.delenv("GITHUB_ACTIONS")
    found = job.write(MISSES).run(*ONE)
    assert told(found) == []
    assert (job.path / SUMMARY).read_text() == "before\n"


@pytest.mark.parametrize(("body", "args"), [("def test_plain():\n    assert 0\n", []), (MISSES, ["--collect-only"])])
def test_a_run_without_results_of_ours_says_nothing(job, body, args):
    """Neither for ordinary tests, nor where nothing runs."""
    found = job.write(body).run(*args)
    assert told(found) == []
    assert (job.path / SUMMARY).read_text() == "before\n"


def test_a_summary_that_cannot_be_written_fails_nothing(job, monkeypatch):
    """One line in the terminal."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job.path))
    found = job.write(HOLDS).run(*ONE)
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(["the job summary could not be written (*)"])


def test_a_summary_stays_within_what_the_step_has_left(job):
    """Other tools of the same step may have written a lot."""
    (job.path / SUMMARY).write_text("x" * (2**20 - 1200))
    job.write(HOLDS + MISSES).run(*ONE)
    text = (job.path / SUMMARY).read_bytes()
    assert len(text) <= 2**20
    assert b"GT3 new component | **FAIL**" in text
    assert b"This summary was cut to fit" in text


BREAKS = """
import os, signal

@pytest.mark.gt3(source="x")
def test_killed(unineuron_case):
    if unineuron_case.control:
        os.kill(os.getpid(), signal.SIGKILL)
    measure("size", 0.9, above=0.5)

@pytest.fixture
def broken():
    raise RuntimeError("no such file")

@pytest.mark.gt3(source="x")
def test_setup(broken):
    measure("size", 0.9, above=0.5)
"""


@pytest.mark.skipif(not hasattr(__import__("signal"), "SIGKILL"), reason="there is no such signal on Windows")
def test_crashes_and_errors_in_setup_are_annotated(job):
    """What was lost comes first, with the item it was lost at."""
    found = job.write(BREAKS).run(*ONE, "-n1", subprocess=True)
    assert found.ret == 22
    first, *rest = commands(found.result.stdout.str())
    assert first[1]["title"] == "results were lost"
    assert first[2].startswith("test_trials.py::test_killed[neox-a~untrained]: its worker process died")
    assert (first[1]["file"], first[1]["line"]) == (f"{job.path.name}/test_trials.py", "7")
    assert ("error", "ERROR: setup on neox-a") in [(level, said["title"]) for level, said, _ in rest]
    assert "killed" not in "".join(said["title"] for _, said, _ in rest)


def test_a_missing_baseline_is_annotated(job):
    """The run was not held against anything."""
    found = job.write(HOLDS).run(*ONE, "--unineuron-baseline=none.json")
    assert found.ret == 23
    assert told(found) == [("error", "the baseline cannot be used")]
    assert "the baseline cannot be used (status 23)" in (job.path / SUMMARY).read_text(encoding="utf-8")


NAMED = """
@pytest.mark.gt3(source="x", trial="::error::trial")
def test_named():
    measure("::warning::measured", 0.9, above=0.5)
    measure("##[error]measured", 0.2, above=0.5)
"""


@pytest.mark.parametrize("args", [[], ["--color=yes"], ["-v"]], ids=" ".join)
def test_no_name_is_a_command_of_its_own(job, args):
    """In the table, where a second measurement stands alone, and in what is said below it."""
    model = job.path / "::add-mask::model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    found = job.write(NAMED).run(
        "--unineuron-controls=untrained", f"--unineuron-model={model}", "--tb=no", "-rN", *args
    )
    text = found.result.stdout.str()
    ours = text[text.index("do they generalize?") :]
    assert [level for level, _, _ in commands(ours)] == ["error"]
