"""Runs of some of the trials: those that were left out are NOT_RUN and never pass."""

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE

MORE = HOLDS.replace("good", "other").replace("gt1", "gt2")


def outcomes(found):
    return {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in found.report["trials"]}


@pytest.mark.parametrize(
    "selection", [("-k", "good"), ("-m", "gt1"), ("--deselect=test_trials.py::test_other",), ("-k", "good", "-n2")]
)
def test_a_part_of_the_trials(trials, selection):
    """A deselected trial is NOT_RUN and its criterion is NA, with and without workers."""
    found = trials.write(HOLDS + MORE).run(*ONE, *selection)
    assert found.ret == 0
    assert outcomes(found) == {"good": "PASS", "other": "NOT_RUN"}
    assert found.summary["Checklist"] == {
        "GT1_ModelGeneralization": "PASS",
        "GT2_DataGeneralization": "NA",
        "GT3_MethodGeneralization": "NA",
    }


def test_a_single_item(trials):
    """A subject that runs without its control is NA."""
    found = trials.write(HOLDS).run(*ONE, "test_trials.py::test_good[neox-a]")
    found.result.assert_outcomes(passed=1)
    assert found.outcome("good") == "NA"


@pytest.mark.parametrize("selection", [("-k", "nothing"), ("-m", "not gt1")])
def test_nothing_selected(trials, selection):
    """The exit status is 5, as in pytest, and no report is written."""
    found = trials.write(HOLDS).run(*ONE, *selection)
    assert found.ret == 5
    assert (found.summary, found.report) == (None, None)


@pytest.mark.parametrize("quiet", ["-q", "-qq", "-v"])
def test_collecting_only(trials, quiet):
    """Nothing is judged or written, and the exit status is 0."""
    found = trials.write(HOLDS).run(*ONE, "--co", quiet, "-n2")
    assert found.ret == 0
    assert found.report is None
    found.result.stdout.no_fnmatch_line("*do they generalize*")


def test_last_failed(trials):
    """Only the failed subject runs again, without its control, so it is NA. Pytest does not report the other items."""
    assert trials.write(HOLDS + MISSES).run(*ONE, "-p", "cacheprovider").ret == 1
    found = trials.run(*ONE, "-p", "cacheprovider", "--lf")
    assert found.ret == 1
    found.result.assert_outcomes(failed=1)
    assert outcomes(found) == {"bad": "NA"}
    assert set(found.summary["Checklist"].values()) == {"NA"}


def test_failed_first(trials):
    """Another order of items gives the same verdicts."""
    first = trials.write(HOLDS + MISSES).run(*ONE, "-p", "cacheprovider")
    again = trials.run(*ONE, "-p", "cacheprovider", "--ff")
    assert (first.ret, first.summary) == (again.ret, again.summary)
    assert outcomes(again) == {"good": "PASS", "bad": "FAIL"}


def test_stepwise(trials):
    """The run stops at the first failure, and the next run starts there. Trials before and after it are NOT_RUN."""
    first = trials.write(HOLDS + MISSES + MORE).run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(first) == {"good": "PASS", "bad": "NA", "other": "NOT_RUN"}
    again = trials.run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(again) == {"good": "NOT_RUN", "bad": "NA", "other": "NOT_RUN"}
    assert (first.ret, again.ret) == (2, 2)


def test_stopping_after_some_failures(trials):
    """With --maxfail, finished trials count and the others are NOT_RUN."""
    body = MISSES + MISSES.replace("bad", "worse") + HOLDS
    found = trials.write(body).run(*ONE, "--maxfail=2")
    assert found.ret == 1
    assert outcomes(found) == {"bad": "FAIL", "worse": "NA", "good": "NOT_RUN"}
