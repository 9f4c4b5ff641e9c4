"""Bodies that say themselves how they end, by pytest.fail, and what is collected or marked beside trials."""

from tests.plugin.inner import HOLDS, ONE
from tests.plugin.test_outcomes import run


def test_a_control_that_is_failed_by_hand_misses(trials):
    """As one whose assertion fails: it passes, and the run succeeds."""
    found = run(trials, "if unineuron_case.control:\n    pytest.fail('by hand')\nmeasure('size', 0.9, above=0.5)")
    found.result.assert_outcomes(passed=4)
    assert (found.ret, found.outcome("claim")) == (0, "PASS")
    assert {arm["reason"] for arm in found.arms("claim").values()} == {"by hand"}


def test_a_trial_that_is_failed_by_hand_fails_the_run_only_if_misses_do(trials):
    found = run(trials, "pytest.fail('by hand')", "--unineuron-fail-on=never")
    assert (found.ret, found.outcome("claim")) == (0, "FAIL")


def test_a_fixture_that_breaks_while_the_body_runs_is_no_miss_of_a_control(trials):
    """The body asks for it by name."""
    text = """
from pytest_unineuron.errors import ModelError

@pytest.fixture
def broken():
    raise ModelError("it cannot be loaded")

@pytest.mark.gt1(source="test")
def test_claim(request, unineuron_case):
    if unineuron_case.control:
        request.getfixturevalue("broken")
    measure('size', 0.9, above=0.5)
"""
    found = trials.write(text).run(*ONE)
    assert found.outcome("claim") not in ("PASS", "FAIL")
    assert {arm["outcome"] for arm in found.arms("claim").values()} == {"ERROR"}
    found.result.stdout.fnmatch_lines(["it cannot be loaded"])


def test_what_else_is_collected_below_a_marker_costs_no_trial(trials):
    """A doctest is run as ever, and a method of a TestCase, which no fixture can be given to, is an error."""
    text = f"""
import unittest

pytestmark = pytest.mark.gt1(source="test")

def double(x):
    \"\"\"
    >>> double(2)
    4
    \"\"\"
    return 2 * x

class TestOfUnittest(unittest.TestCase):
    def test_method(self):
        pass
{HOLDS}"""
    found = trials.write(text).run(*ONE, "--doctest-modules", "-p", "doctest", "-p", "unittest")
    assert found.outcome("good") == "PASS"
    found.result.assert_outcomes(passed=3, errors=1)
    found.result.stdout.fnmatch_lines(["*test_method: a trial is a function or a method of a plain class*"])


def test_a_control_is_not_expected_to_fail_by_its_module_or_class(trials):
    text = """
@pytest.mark.xfail(reason="known", strict=True)
class TestAll:
    @pytest.mark.gt1(source="test")
    def test_claim(self, unineuron_case):
        measure('size', 0.1, above=0.5)
"""
    for body in (text, text.replace("@pytest.mark.xfail", "pytestmark = pytest.mark.xfail")):
        found = trials.write(body).run(*ONE)
        found.result.assert_outcomes(passed=1, xfailed=1)
        assert (found.ret, found.outcome("claim")) == (0, "FAIL")
