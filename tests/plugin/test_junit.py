"""Properties in the file of ``--junitxml``, which dashboards show: the measurements of each test case."""

import xml.etree.ElementTree as ET

import pytest

from tests.plugin.inner import HOLDS, ONE

TWO = HOLDS + "    measure('shape', 3)\n"


@pytest.mark.parametrize(("workers", "family"), [("-n0", "xunit1"), ("-n0", "xunit2"), ("-n2", "xunit2")])
def test_measurements_are_properties(trials, workers, family):
    """Each measurement is there once, on its own item, after the id of the trial and the outcome of the item."""
    found = trials.write(TWO).run(*ONE, workers, "--junitxml=junit.xml", "-o", f"junit_family={family}")
    assert found.ret == 0
    assert properties(trials.path / "junit.xml") == {
        "test_good[neox-a]": [
            ("unineuron trial", "good"),
            ("unineuron outcome", "PASS"),
            ("unineuron size", "0.9"),
            ("unineuron shape", "3.0"),
        ],
        "test_good[neox-a~untrained]": [
            ("unineuron trial", "good"),
            ("unineuron outcome", "FAIL"),
            ("unineuron size", "0.1"),
            ("unineuron shape", "3.0"),
        ],
    }


ODD = """
@pytest.mark.gt1(source="x")
def test_odd(record_property):
    record_property("theirs", 1)
    measure("a\\x00b\\x1b[31m & <c>", 0.9, above=0.5, interval=(0.8, 1.0), note="\\x07")
    measure("nothing", float("nan"))
"""


def test_any_name_of_a_measurement_makes_valid_xml(trials):
    """Characters that XML forbids are escaped, an interval is two numbers, and a NaN reads ``undefined``."""
    trials.write(ODD).run(*ONE, "--junitxml=junit.xml", "-o", "junit_family=xunit1")  # as record_property wants
    assert properties(trials.path / "junit.xml")["test_odd[neox-a]"] == [
        ("theirs", "1"),
        ("unineuron trial", "odd"),
        ("unineuron outcome", "PASS"),
        ("unineuron a#x00b#x1B[31m & <c>", "0.9"),
        ("unineuron a#x00b#x1B[31m & <c> low", "0.8"),
        ("unineuron a#x00b#x1B[31m & <c> high", "1.0"),
        ("unineuron nothing", "undefined"),
    ]


BROKEN = """
@pytest.fixture
def breaks():
    if {early}:
        raise RuntimeError("early")
    yield
    raise RuntimeError("late")

@pytest.mark.gt1(source="x")
def test_broken(breaks):
    measure("size", 0.9, above=0.5)
"""


@pytest.mark.parametrize(("early", "measured"), [(True, []), (False, [("unineuron size", "0.9")])])
def test_an_error_in_setup_or_teardown_is_the_outcome(trials, early, measured):
    """After an error in setup there is no measurement. After one in teardown there is, but the outcome is ERROR."""
    trials.write(BROKEN.format(early=early)).run(*ONE, "--junitxml=junit.xml")
    assert properties(trials.path / "junit.xml")["test_broken[neox-a]"] == [
        ("unineuron trial", "broken"),
        ("unineuron outcome", "ERROR"),
        *measured,
    ]


def test_a_skipped_trial_is_not_applicable(trials):
    """Its outcome is NA, as in the report."""
    trials.write(HOLDS + "    pytest.skip('not today')\n").run(*ONE, "--junitxml=junit.xml")
    assert ("unineuron outcome", "NA") in properties(trials.path / "junit.xml")["test_good[neox-a]"]


def test_ordinary_tests_have_no_properties(trials):
    """Ordinary tests are written as without the plugin."""
    trials.write(HOLDS + "\ndef test_plain():\n    pass\n").run(*ONE, "--junitxml=junit.xml")
    assert properties(trials.path / "junit.xml")["test_plain"] == []


def properties(path):
    return {
        case.get("name"): [(each.get("name"), each.get("value")) for each in case.iter("property")]
        for case in ET.parse(path).iter("testcase")
    }


def test_a_recorded_miss_is_no_failure_of_a_test_case(trials):
    """With --unineuron-fail-on=never the item passes for pytest, so it does for dashboards."""
    body = HOLDS.replace("0.9", "0.2")
    found = trials.write(body).run(*ONE, "--unineuron-fail-on=never", "--junitxml=junit.xml")
    assert found.outcome("good") == "FAIL"
    (suite,) = ET.parse(trials.path / "junit.xml").iter("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
