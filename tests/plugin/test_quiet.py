"""Saying less: the verdict, the files and the exit status are the same."""

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE

CRITERION = (*ONE, "--unineuron-fail-on=criterion")


@pytest.mark.parametrize(
    "args",
    [
        ["-q"],
        ["-qq"],
        ["--no-header"],
        ["--no-summary"],
        ["-q", "--no-header", "--no-summary"],
        ["-p", "no:terminal"],
        ["-p", "no:terminal", "-n2"],
        ["--tb=no"],
        ["-rN"],
        ["--color=yes", "-v"],
        ["--capture=no"],
    ],
    ids=" ".join,
)
def test_files_and_status_do_not_depend_on_what_is_shown(trials, args):
    """A criterion FAILs in every one of them."""
    found = trials.write(HOLDS + MISSES).run(*CRITERION, *args)
    assert found.ret == 20
    assert (found.outcome("good"), found.outcome("bad")) == ("PASS", "FAIL")
    assert found.summary["Checklist"]["GT3_MethodGeneralization"] == "FAIL"


@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_the_reason_of_a_status_of_ours_is_shown_even_when_quiet(trials, quiet):
    """Otherwise the last line would be pytest's, and green."""
    found = trials.write(HOLDS + MISSES).run(*CRITERION, quiet)
    found.result.stdout.fnmatch_lines(["Exit status 20: a criterion FAILs."])
