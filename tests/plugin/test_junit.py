"""``--junitxml``: every measurement is a property of its test case, for people who look at dashboards."""

import xml.etree.ElementTree as ET

import pytest

from tests.plugin.inner import HOLDS, ONE

TWO = HOLDS + "    measure('shape', 3)\n"


@pytest.mark.xfail(
    reason="junit.xml is written from the report of the teardown, which does not carry them yet", strict=True
)
@pytest.mark.parametrize(("workers", "family"), [("-n0", "xunit1"), ("-n0", "xunit2"), ("-n2", "xunit2")])
def test_measurements_are_properties(trials, workers, family):
    """Each once, on its own item, also on workers."""
    found = trials.write(TWO).run(*ONE, workers, "--junitxml=junit.xml", "-o", f"junit_family={family}")
    assert found.ret == 0
    assert properties(trials.path / "junit.xml") == {
        "test_good[neox-a]": [("unineuron size", "0.9"), ("unineuron shape", "3.0")],
        "test_good[neox-a~untrained]": [("unineuron size", "0.1"), ("unineuron shape", "3.0")],
    }


def properties(path):
    return {
        case.get("name"): [(each.get("name"), each.get("value")) for each in case.iter("property")]
        for case in ET.parse(path).iter("testcase")
    }


def test_a_recorded_miss_is_no_failure_of_a_test_case(trials):
    """With fail-on=never the dashboard shows what pytest shows."""
    body = HOLDS.replace("0.9", "0.2")
    found = trials.write(body).run(*ONE, "--unineuron-fail-on=never", "--junitxml=junit.xml")
    assert found.outcome("good") == "FAIL"
    (suite,) = ET.parse(trials.path / "junit.xml").iter("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
