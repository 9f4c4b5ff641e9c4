"""``--reruns`` of pytest-rerunfailures: the last attempt counts, and a note says that there were others."""

import xml.etree.ElementTree as ET

import pytest

from tests.plugin.inner import ONE, WORKERS

pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")

FLAKY = """
from pathlib import Path

def attempt(case):
    tally = Path(__file__).with_name(f"{case.arm}.tally")
    tally.write_text(tally.read_text() + "." if tally.exists() else ".")
    return len(tally.read_text())

@pytest.mark.gt1(source="x", controls=["untrained"])
def test_flaky(unineuron_case):
    number = attempt(unineuron_case)
    BODY
"""
CLAIM = "measure('size', 0.1 if unineuron_case.control else 0.3 * number, above=0.5)"


def run(trials, body, *args):
    return trials.write(FLAKY.replace("BODY", body)).run(*ONE, "-p", "rerunfailures", "--reruns=2", *args)


def subject(found):
    (case,) = found.trial("flaky")["subjects"]["neox-a"]["cases"]
    return case["subject"]


@pytest.mark.parametrize("workers", WORKERS)
def test_measurements_are_those_of_the_last_attempt(trials, workers):
    """The trial passes, and a note says that it failed before."""
    found = run(trials, CLAIM, workers)
    assert found.ret == 0
    found.result.assert_outcomes(passed=2)
    found.result.stdout.fnmatch_lines(["*2 passed*1 rerun*"])
    assert found.outcome("flaky") == "PASS"
    assert [m["value"] for m in subject(found)["measurements"]] == [0.6]
    assert subject(found)["notes"] == ["ran again after FAIL"]
    assert found.report["incomplete"] == []


def test_an_attempt_that_broke_is_noted_too(trials):
    """The first attempt raises an exception and the second passes."""
    found = run(trials, "if number == 1: raise RuntimeError('no luck')\n    " + CLAIM.replace("0.3", "0.9"))
    assert found.ret == 0
    assert found.outcome("flaky") == "PASS"
    assert subject(found)["notes"] == ["ran again after ERROR"]


def test_a_trial_fails_if_every_attempt_fails(trials):
    """The measurements are those of the last of three attempts."""
    found = run(trials, "measure('size', 0.1 * number, above=0.5)")
    assert found.ret == 1
    assert found.outcome("flaky") == "FAIL"
    assert [round(m["value"], 9) for m in subject(found)["measurements"]] == [0.3]
    assert subject(found)["notes"] == ["ran again after FAIL"]


def test_properties_are_those_of_the_last_attempt(trials):
    """The file of --junitxml has the measurements that the report has."""
    run(trials, CLAIM, "--junitxml=junit.xml")
    cases = {case.get("name"): case for case in ET.parse(trials.path / "junit.xml").iter("testcase")}
    values = [each.get("value") for each in cases["test_flaky[neox-a]"].iter("property")]
    assert values == ["flaky", "PASS", "0.6"]
