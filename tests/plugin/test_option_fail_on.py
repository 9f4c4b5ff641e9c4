"""``--unineuron-fail-on``: which outcomes fail a run."""

import pytest

MISSES = "@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('size', 0.1, above=0.5)\n"
HOLDS = """
@pytest.mark.gt2(source='x')
def test_good(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
LEVEL = "@pytest.mark.gt2(source='x')\ndef test_level():\n    measure('size', 0.9, higher_by=0.1)\n"
BREAKS = "@pytest.mark.gt3(source='x')\ndef test_bad():\n    raise RuntimeError('broken')\n"
MODEL = "--unineuron-model=nano:neox-a"


@pytest.mark.parametrize(
    ("fail_on", "body", "status"),
    [
        ("trial", MISSES, 1),
        ("trial", HOLDS, 0),
        ("trial", LEVEL, 1),
        ("never", LEVEL, 0),
        ("criterion", MISSES, 20),
        ("criterion", HOLDS, 0),
        ("criterion", MISSES + BREAKS, 1),
        ("never", MISSES, 0),
        ("never", MISSES + HOLDS, 0),
        ("never", BREAKS, 1),
    ],
)
def test_exit_status(trials, fail_on, body, status):
    """A FAIL fails the run only if the option says so, also one against controls. An error always does."""
    found = trials.write(body).run(MODEL, f"--unineuron-fail-on={fail_on}")
    assert found.ret == status


def test_a_recorded_miss_is_a_fail_in_the_report(trials):
    """With --unineuron-fail-on=never the item passes, but -v and the report say that the claim was missed."""
    found = trials.write(MISSES).run(MODEL, "--unineuron-controls=untrained", "--unineuron-fail-on=never", "-v")
    found.result.assert_outcomes(passed=2)
    found.result.stdout.fnmatch_lines(["*test_claim[[]neox-a[]] PASSED (recorded: claim missed)*"])
    assert found.outcome("claim") == "FAIL"
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "FAIL"


def test_the_reason_of_status_20_is_shown(trials):
    """All items passed for pytest, so its last line does not tell why the run failed."""
    found = trials.write(MISSES).run(MODEL, "--unineuron-fail-on=criterion")
    found.result.stdout.fnmatch_lines(["Exit status 20: a criterion FAILs."])


def test_a_failing_ordinary_test_still_fails_the_run(trials):
    """--unineuron-fail-on concerns trials only."""
    found = trials.write(HOLDS + "\ndef test_plain():\n    assert 0").run(MODEL, "--unineuron-fail-on=never")
    assert found.ret == 1


def test_nothing_selected_is_never_a_pass(trials):
    """The exit status is 5, as in pytest."""
    found = trials.write(HOLDS).run(MODEL, "-k", "nothing", "--unineuron-fail-on=criterion")
    assert found.ret == 5
