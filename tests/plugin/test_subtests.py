"""Subtests: a trial fails if one of its subtests fails."""

import pytest

from tests.plugin.inner import ONE

pytestmark = pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests are part of pytest from 9.0 on")

TRIAL = """
@pytest.mark.gt1(source="x", controls=["untrained"])
def test_parts(unineuron_case, subtests):
    for part in "ab":
        with subtests.test("part", part=part):
            BODY
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


def run(trials, body, *args):
    return trials.write(TRIAL.replace("BODY", body)).run(*ONE, *args)


@pytest.mark.parametrize("args", [(), ("-v",), ("-n2",), ("-p", "no:terminal")])
def test_a_failing_subtest_fails_the_trial(trials, args):
    """Pytest reports the test as passed until the terminal asks for its status, so this must not depend on options."""
    found = run(trials, "assert unineuron_case.control or part == 'a', 'not b'", *args)
    assert found.ret == 1
    assert found.outcome("parts") == "FAIL"
    assert "not b" in found.reason("parts")
    assert found.report["incomplete"] == []


def test_a_subtest_that_breaks_is_an_error(trials):
    """An exception is evidence neither for nor against the claim."""
    found = run(trials, "if part == 'b': raise RuntimeError('broken')")
    assert found.ret == 1
    assert found.outcome("parts") == "ERROR"
    assert "broken" in found.reason("parts")


def test_a_subtest_that_breaks_on_a_control_is_no_miss(trials):
    """The control has not finished, so the trial is undecided, although the bound is missed as well."""
    found = run(trials, "if unineuron_case.control: raise RuntimeError('broken')")
    assert found.outcome("parts") == "NA"
    assert found.arms("parts")["untrained"]["outcome"] == "ERROR"


def test_a_subtest_that_runs_out_of_time_on_a_control_is_no_miss(trials):
    """So does pytest-timeout end one; it says nothing about the claim."""
    found = run(trials, "if unineuron_case.control: pytest.fail('Timeout (>1.0s) from pytest-timeout.')")
    assert found.outcome("parts") == "NA"
    assert found.arms("parts")["untrained"]["standing"] == "unfinished"


def test_a_minimum_that_is_not_met_in_a_subtest_is_na(trials):
    text = """
@pytest.mark.gt1(source="x", controls=["untrained"])
def test_parts(unineuron_measure, subtests):
    with subtests.test("part"):
        unineuron_measure.needs("tokens", 900, at_least=4000)
"""
    found = trials.write(text).run(*ONE)
    assert found.outcome("parts") == "NA"
    assert "underpowered: 900 tokens, needs 4000" in found.reason("parts")


def test_a_subtest_that_fails_on_a_control_is_a_miss(trials):
    """A control is expected to miss, so the trial passes and the run succeeds."""
    found = run(trials, "assert not unineuron_case.control")
    assert found.ret == 0
    assert found.outcome("parts") == "PASS"
    assert found.arms("parts")["untrained"]["standing"] == "missed"


def test_subtests_that_pass_change_nothing(trials):
    """They are not counted as further attempts or measurements."""
    found = run(trials, "assert part")
    assert found.ret == 0
    assert found.outcome("parts") == "PASS"
    (case,) = found.trial("parts")["subjects"]["neox-a"]["cases"]
    assert case["subject"]["notes"] == []
    assert len(case["subject"]["measurements"]) == 1


def test_measurements_inside_subtests_count(trials):
    """A bound that is missed in a subtest is a miss of the trial."""
    found = run(trials, "measure(f'part {part}', {'a': 0.9, 'b': 0.2}[part], above=0.5)")
    assert found.ret == 1
    assert found.outcome("parts") == "FAIL"
    assert "part b = 0.2" in found.reason("parts")
