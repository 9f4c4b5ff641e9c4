"""Annotations and the job summary of a run on GitHub Actions, which no option of pytest switches off."""

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE
from tests.reports.test_github import commands

SUMMARY = "summary.md"
BAD = "FAIL: bad on neox-a"


@pytest.fixture
def job(trials, monkeypatch):
    """A step of a GitHub job whose repository is the parent folder."""
    for name, value in (
        ("ACTIONS", "true"),
        ("STEP_SUMMARY", trials.path / SUMMARY),
        ("WORKSPACE", trials.path.parent),
    ):
        monkeypatch.setenv(f"GITHUB_{name}", str(value))
    (trials.path / SUMMARY).write_text("before\n")
    return trials


def annotations(run):
    """The level and the title of every annotation in the output of a run."""
    return [(level, properties.get("title")) for level, properties, _ in commands(run.result.stdout.str())]


@pytest.mark.parametrize(
    "args",
    ["", "-q", "-qq", "--no-summary", "-p no:terminal", "-s", "-p no:terminal -n1", "--color=yes"],
)
def test_annotations_and_summary_do_not_depend_on_what_is_shown(job, args):
    """A failed trial is annotated once, at its line in the repository, and the summary is appended once."""
    found = job.write(HOLDS + MISSES).run(*ONE, *args.split())
    assert found.ret == 1
    ((level, properties, message),) = commands(found.result.stdout.str())
    assert (level, properties) == ("error", {"file": f"{job.path.name}/test_trials.py", "line": "9", "title": BAD})
    assert message.startswith("missed: size = 0.2, claimed > 0.5\npytest test_trials.py::test_bad ")
    text = (job.path / SUMMARY).read_text(encoding="utf-8")
    assert text.startswith("before\n# Do universal neurons generalize?\n")
    assert text.count("# Do universal") == 1
    assert "bad on neox-a: missed" in text


def test_nothing_is_annotated_outside_of_github(job, monkeypatch):
    """The file of a job summary is not enough: GITHUB_ACTIONS must be set."""
    monkeypatch.delenv("GITHUB_ACTIONS")
    found = job.write(MISSES).run(*ONE)
    assert annotations(found) == []
    assert (job.path / SUMMARY).read_text() == "before\n"


@pytest.mark.parametrize(("body", "args"), [("def test_plain():\n    assert 0\n", []), (MISSES, ["--collect-only"])])
def test_a_run_without_trial_results_is_not_annotated(job, body, args):
    """Ordinary tests and --collect-only leave output and summary alone."""
    found = job.write(body).run(*args)
    assert annotations(found) == []
    assert (job.path / SUMMARY).read_text() == "before\n"


def test_a_summary_that_cannot_be_written_fails_nothing(job, monkeypatch):
    """The run succeeds, and one line in the terminal says that there is no summary."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job.path))
    found = job.write(HOLDS).run(*ONE)
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(["the job summary could not be written (*)"])


def test_a_summary_fits_the_space_that_is_left(job):
    """GitHub limits the summary of a step to 1 MiB, of which other tools may have used a part."""
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
    """The first annotation says that results were lost, at the item that killed its worker."""
    found = job.write(BREAKS).run(*ONE, "-n1", subprocess=True)
    assert found.ret == 22
    first, *rest = commands(found.result.stdout.str())
    assert first[1]["title"] == "results were lost"
    assert first[2].startswith("test_trials.py::test_killed[neox-a~untrained]: its worker process died")
    assert (first[1]["file"], first[1]["line"]) == (f"{job.path.name}/test_trials.py", "7")
    assert ("error", "ERROR: setup on neox-a") in [(level, properties["title"]) for level, properties, _ in rest]
    assert "killed" not in "".join(properties["title"] for _, properties, _ in rest)


def test_a_missing_baseline_is_annotated(job):
    """The annotation says why the run ended, and with one from the ini file the summary too, at its end."""
    found = job.write(HOLDS).run(*ONE, "--unineuron-baseline=none.json")
    assert found.ret == 23
    assert annotations(found) == [("error", "the baseline cannot be used")]
    (job.path / "pytest.ini").write_text("[pytest]\nunineuron_baseline = none.json\n")
    found = job.run(*ONE)
    assert found.ret == 23
    assert annotations(found) == [("error", "the baseline cannot be used")]
    assert "the baseline cannot be used (status 23)" in (job.path / SUMMARY).read_text(encoding="utf-8")


NAMED = """
@pytest.mark.gt3(source="x", trial="::error::trial")
def test_named():
    measure("::warning::measured", 0.9, above=0.5)
    measure("##[error]measured", 0.2, above=0.5)
"""


@pytest.mark.parametrize("args", [[], ["--color=yes"], ["-v"]], ids=" ".join)
def test_names_cannot_be_commands_of_github(job, args):
    """Names that look like commands are printed as text: in the rows of the table and in the lines below it."""
    model = job.path / "::add-mask::model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").touch()
    found = job.write(NAMED).run(
        "--unineuron-controls=untrained", f"--unineuron-model={model}", "--tb=no", "-rN", *args
    )
    text = found.result.stdout.str()
    ours = text[text.index("do they generalize?") :]
    assert [level for level, _, _ in commands(ours)] == ["error"]
