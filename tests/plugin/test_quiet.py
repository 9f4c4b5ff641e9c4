"""Options of pytest that hide output: verdicts, files and exit status stay the same."""

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
    """One trial passes and one fails, so the run ends with status 20."""
    found = trials.write(HOLDS + MISSES).run(*CRITERION, *args)
    assert found.ret == 20
    assert (found.outcome("good"), found.outcome("bad")) == ("PASS", "FAIL")
    assert found.summary["Checklist"]["GT3_MethodGeneralization"] == "FAIL"


@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_the_reason_of_status_20_is_shown_with_q(trials, quiet):
    """All items passed for pytest, so its last line does not tell why the run failed."""
    found = trials.write(HOLDS + MISSES).run(*CRITERION, quiet)
    found.result.stdout.fnmatch_lines(["Exit status 20: a criterion FAILs."])
