"""The properties of one item."""

import pytest

from pytest_unineuron.reports.junit import junit_properties
from tests.evidence.made import arm, share


def test_the_trial_and_its_outcome_come_first():
    """By names that no measurement has to itself."""
    assert junit_properties("heavy", arm(share(0.9)))[:2] == [
        ("unineuron trial", "heavy"),
        ("unineuron outcome", "PASS"),
    ]


def test_every_measurement_is_there_with_its_interval():
    """One flat number each."""
    found = dict(junit_properties("heavy", arm(share(0.9, error=0.1), share(2.0, name="shape"))))
    assert found["unineuron share"] == 0.9
    assert (found["unineuron share low"], found["unineuron share high"]) == pytest.approx((0.6869, 1.1131))
    assert found["unineuron shape"] == 2.0
    assert "unineuron shape low" not in found


def test_what_is_undefined_says_so():
    """Not None, which a dashboard takes for a text like any other."""
    assert dict(junit_properties("heavy", arm(share(float("nan")))))["unineuron share"] == "undefined"


def test_a_name_is_there_once():
    """Also where a trial measures two things by one name, or calls one as we call ours."""
    found = junit_properties("heavy", arm(share(1.0), share(2.0), share(3.0, name="trial")))
    names = [name for name, _ in found]
    assert names == [
        "unineuron trial",
        "unineuron outcome",
        "unineuron share",
        "unineuron share (2)",
        "unineuron trial (2)",
    ]


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\n", "\ufffe", "\ud800"])
def test_names_hold_nothing_that_xml_cannot(character):
    """It is spelled out, as pytest does with values."""
    result = arm(share(1.0, name="a"))
    odd = type(result.measurements[0])(f"a{character}b", 1.0)
    (*_, (name, _)) = junit_properties("heavy", type(result)(result.outcome, measurements=(odd,)))
    assert name == f"unineuron a#x{ord(character):02X}b"
