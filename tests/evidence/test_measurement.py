"""Laws of a measurement and its bound."""

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.measurement import BoundStatus, Measurement, exact_bounds, format_number
from pytest_unineuron.statistics.resampling import Estimate

reals = st.floats(-1e6, 1e6, allow_nan=False)


def status(value, **options):
    return make_measurement("x", value, **options).bound_status


def estimate(value, low, high):
    return Estimate(value, low, high, 0.0, "test")


@given(reals, reals)
def test_a_number_holds_on_one_side_only(value, bound):
    """A value holds above a bound or below it but never both, and at the bound neither."""
    above, below = status(value, above=bound), status(value, below=bound)
    assert not (above is BoundStatus.HOLDS and below is BoundStatus.HOLDS)
    if abs(value - bound) > 1e-3 * max(1.0, abs(value), abs(bound)):
        assert {above, below} == {BoundStatus.HOLDS, BoundStatus.MISSES}


@given(reals, st.floats(0, 1e3), st.floats(0, 1e3), reals)
def test_the_whole_interval_must_be_beyond_the_bound(value, down, up, bound):
    """An interval that contains the bound is unclear."""
    found = status(estimate(value, value - down, value + up), above=bound)
    if value - down < bound - 1 and value + up > bound + 1:
        assert found is BoundStatus.UNCLEAR
    if found is BoundStatus.HOLDS:
        assert value - down >= bound
    if found is BoundStatus.MISSES:
        assert value + up <= bound


def test_a_value_within_rounding_of_its_bound_is_unclear():
    """The side of the bound on which a float falls by rounding is not evidence."""
    assert status(0.75 + 1e-9, above=0.75) is BoundStatus.UNCLEAR
    assert status(0.75 - 1e-9, above=0.75) is BoundStatus.UNCLEAR


def test_integers_are_compared_exactly():
    """Integers have no rounding error: 0 is not above 0, and 1 is."""
    assert status(0, above=0) is BoundStatus.MISSES
    assert status(1, above=0) is BoundStatus.HOLDS


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_nan_and_infinity_are_undefined(value):
    """nan and infinity hold on neither side, and are stored as None with a note."""
    for side in ("above", "below"):
        found = make_measurement("x", value, **{side: 0.0})
        assert found.bound_status is BoundStatus.UNDEFINED
        assert found.value is None
        assert found.note


def test_an_estimate_without_interval_is_unclear():
    """The value of an estimate whose interval is nan is stored without an interval, with a note."""
    found = make_measurement("x", estimate(2.0, math.nan, math.nan), above=1.0)
    assert (found.value, found.low, found.high, found.bound_status) == (2.0, None, None, BoundStatus.UNCLEAR)
    assert "interval" in found.note


@pytest.mark.parametrize("value", ["many", None, [1.0, 2.0], np.zeros(3), {}])
def test_a_value_that_is_not_one_number_is_refused(value):
    """The error names the measurement and the type, and says to reduce the value first."""
    with pytest.raises(TrialError, match=r"measure\('share', …\): .* is not one number; reduce it first"):
        make_measurement("share", value, above=0.1)


def test_numpy_scalars_become_python_floats():
    """A measurement holds Python floats only."""
    assert type(make_measurement("x", np.float32(0.5)).value) is float


def test_a_limit_for_controls_needs_a_bound():
    """A limit for controls without a bound is an error of the trial."""
    with pytest.raises(TrialError, match="needs above=… or below=…"):
        make_measurement("x", 1.0, null=0.5)


@pytest.mark.parametrize(("bound", "breaks"), [({"above": 0.8}, True), ({"below": 0.2}, False)])
def test_the_limit_for_controls_is_on_the_side_away_from_the_claim(bound, breaks):
    """A control at 0.7 exceeds a limit of 0.6 for a claim upwards, and not for a claim downwards."""
    assert make_measurement("x", 0.7, null=0.6, **bound).exceeds_control_limit is breaks


@given(reals, st.none() | reals, st.none() | reals)
def test_a_measurement_is_read_as_it_was_written(value, above, below):
    """A measurement equals the one read from its dictionary."""
    assume(above is None or below is None or above < below)
    found = make_measurement("x", value, above=above, below=below, unit="nats", note="n")
    assert Measurement.of_dict(found.as_dict()) == found


def test_digits_never_contradict_a_status():
    """A bound has as many as the number beside it, and both say which is larger."""
    numbers = [0.1234, 0.12345, 1000.0, 1000.4, 1000.6, 1001.0, 1004.4, math.log(1.25), 0.22312, 0.9]
    for value, above in itertools.permutations(numbers, 2):
        text = str(make_measurement("x", value, above=above))
        shown, bound = map(float, re.fullmatch(r"x = (\S+), claimed > (\S+)", text).groups())
        assert (shown > bound, shown < bound) == (value > above, value < above), text


def test_an_interval_in_the_wrong_order_and_a_bound_in_words_are_refused():
    with pytest.raises(TrialError, match=r"interval=\(2, 1.5\)\): its ends are \(low, high\)"):
        make_measurement("a", 1.0, interval=(2, 1.5), higher_by=0.1)
    with pytest.raises(TrialError, match="higher_by='MEDIUM'\\): a bound is a number, such as the constant MEDIUM"):
        make_measurement("a", 1.0, higher_by="MEDIUM")


def test_a_masked_number_is_undefined():
    assert make_measurement("x", np.ma.masked_invalid(np.full(3, np.nan)).mean(), below=0.1).value is None


def test_numbers_are_shown_with_three_significant_digits():
    """Differences in the last bits of a number are not shown."""
    assert [format_number(x) for x in (0.0431234, 1211, 12.0, None, 1e-9)] == [
        "0.0431",
        "1211",
        "12",
        "undefined",
        "1e-09",
    ]


@given(reals, reals)
def test_exact_bounds_differ_wherever_the_bounds_do(one, other):
    """A message about two bounds never shows both with the same digits."""
    texts = [exact_bounds(above=bound, below=None, null=None, needed=False) for bound in (one, other)]
    assert (texts[0] == texts[1]) == (one == other and str(one) == str(other))


@pytest.mark.parametrize("bounds", [{"above": 0.5, "null": 0.6}, {"below": 0.5, "null": 0.4}])
def test_a_limit_of_controls_beyond_the_claim_is_refused(bounds):
    """It would never be exceeded by a control that misses the claim."""
    with pytest.raises(TrialError, match=r"null=0\.[46] lies beyond the claim, (above|below)=0\.5; give a limit"):
        make_measurement("share", 0.9, **bounds)
    make_measurement("share", 0.9, **bounds | {"null": 0.5})


def test_bounds_that_no_number_meets_are_refused():
    with pytest.raises(TrialError, match=r"measure\('share'\): no number is above 0\.6 and below 0\.4"):
        make_measurement("share", 0.5, above=0.6, below=0.4)


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_an_interval_without_its_value_is_refused(value):
    """One end of it would decide."""
    with pytest.raises(TrialError, match=r"its value, 0\.[19], is not in the interval"):
        make_measurement("share", value, above=0.2, interval=(0.3, 0.5))


def test_a_number_that_no_float_holds_is_refused():
    with pytest.raises(TrialError, match="a number beyond 1e308"):
        make_measurement("share", 10**400)


def test_a_pandas_series_is_not_one_number():
    with pytest.raises(TrialError, match="Series is not one number"):
        make_measurement("share", pd.Series([1.0, 2.0]), above=1)


def test_large_floats_are_not_exact():
    """All of them are whole numbers from 2^53 on."""
    assert make_measurement("n", 3.0000000001e20, above=3e20).bound_status is BoundStatus.UNCLEAR
    assert make_measurement("n", 4, above=3).bound_status is BoundStatus.HOLDS
