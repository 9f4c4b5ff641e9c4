"""Laws of a measurement and its bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.measurement import BoundStatus, Measurement, format_number, make_measurement
from pytest_unineuron.statistics.resampling import Estimate

reals = st.floats(-1e6, 1e6, allow_nan=False)


def status(value, **said):
    return make_measurement("x", value, **said).bound_status


def estimate(value, low, high):
    return Estimate(value, low, high, 0.0, "test")


@given(reals, reals)
def test_a_number_holds_on_one_side_only(value, bound):
    """A value holds above a bound or below it, never both; at the bound, neither is certain."""
    above, below = status(value, above=bound), status(value, below=bound)
    assert not (above is BoundStatus.HOLDS and below is BoundStatus.HOLDS)
    if abs(value - bound) > 1e-3 * max(1.0, abs(value), abs(bound)):
        assert {above, below} == {BoundStatus.HOLDS, BoundStatus.MISSES}


@given(reals, st.floats(0, 1e3), st.floats(0, 1e3), reals)
def test_an_interval_must_lie_beyond_the_bound_as_a_whole(value, down, up, bound):
    """An interval that contains the bound decides nothing."""
    found = status(estimate(value, value - down, value + up), above=bound)
    if value - down < bound - 1 and value + up > bound + 1:
        assert found is BoundStatus.UNCLEAR
    if found is BoundStatus.HOLDS:
        assert value - down >= bound
    if found is BoundStatus.MISSES:
        assert value + up <= bound


def test_rounding_noise_at_the_bound_is_unclear():
    """Which side of its bound a float fell on by rounding is not evidence."""
    assert status(0.75 + 1e-9, above=0.75) is BoundStatus.UNCLEAR
    assert status(0.75 - 1e-9, above=0.75) is BoundStatus.UNCLEAR


def test_counts_are_exact():
    """Whole numbers have no noise: 0 is not above 0, and 1 is."""
    assert status(0, above=0) is BoundStatus.MISSES
    assert status(1, above=0) is BoundStatus.HOLDS


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_is_undefined_and_says_so(value):
    """nan and infinity never hold, in any direction, and are stored as nothing with a reason."""
    for side in ("above", "below"):
        found = make_measurement("x", value, **{side: 0.0})
        assert found.bound_status is BoundStatus.UNDEFINED
        assert found.value is None
        assert found.note


def test_an_interval_without_ends_is_left_out():
    """Where an interval could not be made the value stands alone, says so, and decides nothing."""
    found = make_measurement("x", estimate(2.0, math.nan, math.nan), above=1.0)
    assert (found.value, found.low, found.high, found.bound_status) == (2.0, None, None, BoundStatus.UNCLEAR)
    assert "interval" in found.note


@pytest.mark.parametrize("value", ["many", None, [1.0, 2.0], np.zeros(3), {}])
def test_what_is_not_one_number_is_refused(value):
    """The error names the measurement, what came, and what to do."""
    with pytest.raises(TrialError, match=r"measure\('share', …\): .* is not one number; reduce it first"):
        make_measurement("share", value, above=0.1)


def test_numpy_scalars_become_plain_floats():
    """What crosses to the evidence is a Python float."""
    assert type(make_measurement("x", np.float32(0.5)).value) is float


def test_a_limit_for_controls_needs_a_bound():
    """``null`` without a side to be on is a mistake in the trial."""
    with pytest.raises(TrialError, match="needs above=… or below=…"):
        make_measurement("x", 1.0, null=0.5)


@pytest.mark.parametrize(("said", "breaks"), [({"above": 0.8}, True), ({"below": 0.2}, False)])
def test_the_limit_for_controls_lies_on_the_far_side_of_the_bound(said, breaks):
    """A control at 0.7 breaks a limit of 0.6 for a claim upwards, and keeps it for one downwards."""
    assert make_measurement("x", 0.7, null=0.6, **said).exceeds_control_limit is breaks


@given(reals, st.none() | reals, st.none() | reals)
def test_a_measurement_survives_storage(value, above, below):
    """What is written is what is read."""
    found = make_measurement("x", value, above=above, below=below, unit="nats", note="n")
    assert Measurement.of_dict(found.as_dict()) == found


def test_numbers_have_three_digits():
    """Rounding in the last bits never shows."""
    assert [format_number(x) for x in (0.0431234, 1211, 12.0, None, 1e-9)] == [
        "0.0431",
        "1211",
        "12",
        "undefined",
        "1e-09",
    ]
