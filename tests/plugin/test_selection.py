"""Only some of the trials: what was left out did not run, is said to have not run, and never passes."""

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE

MORE = HOLDS.replace("good", "other").replace("gt1", "gt2")


def outcomes(found):
    return {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in found.report["trials"]}


@pytest.mark.parametrize(
    "chosen", [("-k", "good"), ("-m", "gt1"), ("--deselect=test_trials.py::test_other",), ("-k", "good", "-n2")]
)
def test_a_part_of_the_trials(trials, chosen):
    """What was deselected is NOT_RUN, and its criterion is NA, with workers and without."""
    found = trials.write(HOLDS + MORE).run(*ONE, *chosen)
    assert found.ret == 0
    assert outcomes(found) == {"good": "PASS", "other": "NOT_RUN"}
    assert found.summary["Checklist"] == {
        "GT1_ModelGeneralization": "PASS",
        "GT2_DataGeneralization": "NA",
        "GT3_MethodGeneralization": "NA",
    }


def test_a_single_item(trials):
    """A subject by its node id: without its control it is NA."""
    found = trials.write(HOLDS).run(*ONE, "test_trials.py::test_good[neox-a]")
    found.result.assert_outcomes(passed=1)
    assert found.outcome("good") == "NA"


@pytest.mark.parametrize("chosen", [("-k", "nothing"), ("-m", "not gt1")])
def test_nothing_selected(trials, chosen):
    """Status 5 is pytest's, and there is no report that could be taken for one of this run."""
    found = trials.write(HOLDS).run(*ONE, *chosen)
    assert found.ret == 5
    assert (found.summary, found.report) == (None, None)


@pytest.mark.parametrize("quiet", ["-q", "-qq", "-v"])
def test_collecting_only(trials, quiet):
    """No verdict, no file, status 0; with -q the node ids alone."""
    found = trials.write(HOLDS).run(*ONE, "--co", quiet, "-n2")
    assert found.ret == 0
    assert found.report is None
    found.result.stdout.no_fnmatch_line("*do they generalize*")


def test_last_failed(trials):
    """The claim that failed runs again, without its control: it is NA, and pytest never tells of the rest."""
    assert trials.write(HOLDS + MISSES).run(*ONE, "-p", "cacheprovider").ret == 1
    found = trials.run(*ONE, "-p", "cacheprovider", "--lf")
    assert found.ret == 1
    found.result.assert_outcomes(failed=1)
    assert outcomes(found) == {"bad": "NA"}
    assert set(found.summary["Checklist"].values()) == {"NA"}


def test_failed_first(trials):
    """Another order, the same verdicts."""
    first = trials.write(HOLDS + MISSES).run(*ONE, "-p", "cacheprovider")
    again = trials.run(*ONE, "-p", "cacheprovider", "--ff")
    assert (first.ret, first.summary) == (again.ret, again.summary)
    assert outcomes(again) == {"good": "PASS", "bad": "FAIL"}


def test_stepwise(trials):
    """It stops at the first failure and goes on there the next time: what lies before and behind is NOT_RUN."""
    first = trials.write(HOLDS + MISSES + MORE).run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(first) == {"good": "PASS", "bad": "NA", "other": "NOT_RUN"}
    again = trials.run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(again) == {"good": "NOT_RUN", "bad": "NA", "other": "NOT_RUN"}
    assert (first.ret, again.ret) == (2, 2)


def test_stopping_after_some_failures(trials):
    """--maxfail: what had been measured counts, the rest is NOT_RUN."""
    body = MISSES + MISSES.replace("bad", "worse") + HOLDS
    found = trials.write(body).run(*ONE, "--maxfail=2")
    assert found.ret == 1
    assert outcomes(found) == {"bad": "FAIL", "worse": "NA", "good": "NOT_RUN"}
