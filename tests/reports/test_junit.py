"""The properties of one item in JUnit XML."""

import pytest

from pytest_unineuron.reports.junit import junit_properties
from tests.evidence.made import arm, share


def test_the_trial_and_its_outcome_come_first():
    """The first two properties are the trial's id and the outcome."""
    assert junit_properties("heavy", arm(share(0.9)))[:2] == [
        ("unineuron trial", "heavy"),
        ("unineuron outcome", "PASS"),
    ]


def test_every_measurement_is_a_property_with_its_interval():
    """The value and the ends of the interval are properties of their own."""
    found = dict(junit_properties("heavy", arm(share(0.9, error=0.1), share(2.0, name="shape"))))
    assert found["unineuron share"] == 0.9
    assert (found["unineuron share low"], found["unineuron share high"]) == pytest.approx((0.6869, 1.1131))
    assert found["unineuron shape"] == 2.0
    assert "unineuron shape low" not in found


def test_an_undefined_value_is_the_word_undefined():
    """A value of None is written as "undefined", which no dashboard takes for a number."""
    assert dict(junit_properties("heavy", arm(share(float("nan")))))["unineuron share"] == "undefined"


def test_every_property_has_a_name_of_its_own():
    """A name that is taken, also by the trial or the outcome, gets a number."""
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
def test_characters_that_xml_cannot_contain_are_escaped_in_names(character):
    """The escape is that of pytest for values."""
    result = arm(share(1.0, name="a"))
    odd = type(result.measurements[0])(f"a{character}b", 1.0)
    (*_, (name, _)) = junit_properties("heavy", type(result)(result.outcome, measurements=(odd,)))
    assert name == f"unineuron a#x{ord(character):02X}b"
