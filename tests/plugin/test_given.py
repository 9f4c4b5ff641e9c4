"""Trials under ``@given`` of hypothesis: ``measure`` records every run of the body."""

import pytest

from tests.plugin.inner import ONE, WORKERS

TRIAL = """
from hypothesis import given, settings, strategies as st

@pytest.mark.gt1(source="x")
@settings(max_examples=4, database=None)
@given(x=st.integers(0, 9))
def test_every(unineuron_arm_free, x):
    BODY

@pytest.fixture(scope="module")
def unineuron_arm_free():
    return None
"""


def run(trials, body, *args):
    return trials.write(TRIAL.replace("BODY", body)).run(*ONE, "-p", "hypothesispytest", *args)


@pytest.mark.parametrize("workers", WORKERS)
def test_every_example_is_measured_and_judged(trials, workers):
    """The claim holds for all examples, on the control as well, so the trial is vacuous."""
    found = run(trials, "measure('size', x, above=-1)", workers)
    assert found.ret == 0
    assert found.outcome("every") == "VACUOUS"
    (case,) = found.trial("every")["subjects"]["neox-a"]["cases"]
    assert 1 <= len(case["subject"]["measurements"]) <= 4


def test_one_example_that_misses_fails_the_trial(trials):
    """The trial is judged after all examples have run, and fails if one of them misses the bound."""
    found = run(trials, "measure('size', x, below=0)")
    assert found.ret == 1
    assert found.outcome("every") == "FAIL"
    assert found.reason("every").startswith("missed: size = ")


def test_a_falsified_example_is_a_failure(trials):
    """An assertion that hypothesis falsifies is a FAIL with its message, and hypothesis shows the example."""
    found = run(trials, "measure('size', 1, above=0)\n    assert x < 0, 'too large'")
    assert found.ret == 1
    assert found.outcome("every") == "FAIL"
    assert found.reason("every").startswith("asserted: too large")
    found.result.stdout.fnmatch_lines(["*x=0*any other generated value*"])
