"""Changes of a value between two runs: what counts as more than noise."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special, stats

from pytest_unineuron import jackknife
from pytest_unineuron.baseline.change import measure_change, two_sided_p_value
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.standard_error import StandardError


@given(st.floats(0, 60), st.integers(1, 200))
@example(t=1e-6, degrees=1)
def test_p_value_of_students_t_agrees_with_scipy(t, degrees):
    """The p-value agrees to twelve decimals with the incomplete beta function.

    ``scipy.stats.t.sf`` is off by 3e-11 at t = 1e-6 with one degree of freedom (the arctangent says so).
    """
    within = special.betainc(0.5, degrees / 2, t**2 / (degrees + t**2))
    assert two_sided_p_value(t, degrees) == pytest.approx(1 - within, abs=1e-12)


class Groups:
    """A mean over groups of numbers, as a sweep would hand it to a jackknife."""

    def __init__(self, values):
        self.values = values
        self.groups = len(values)

    @property
    def mean(self):
        return float(self.values.mean())

    def without(self, group):
        return Groups(np.delete(self.values, group, axis=0))


def estimate(values, **options):
    return make_measurement("mean", jackknife(lambda s: s.mean, Groups(values), **options), above=0.0)


def alarms(make, runs=600):
    """The share of pairs that differ at a level of five percent."""
    rng = np.random.default_rng(0)
    return np.mean([measure_change(*make(rng))[1] <= 0.05 for _ in range(runs)])


def test_unpaired_runs_without_a_difference_rarely_differ():
    """For independent documents without a true difference, about one pair in twenty differs."""

    def pair(rng):
        one, other = (estimate(rng.normal(5, 1, (16, 8))) for _ in range(2))
        return one, Measurement(**{**vars(other), "spread": StandardError(other.spread.error, 15)})

    assert alarms(pair) < 0.08


def test_pairing_cancels_the_variation_between_documents():
    """A shift far below the variation between documents is found if the runs are paired, and otherwise is not."""

    def pair(rng):
        documents = rng.normal(5, 3, (16, 1))
        one, other = (estimate(documents + shift + rng.normal(0, 0.05, (16, 8))) for shift in (0, -0.6))
        return one, other

    def unpaired(rng):
        one, other = pair(rng)
        return one, Measurement(**{**vars(other), "spread": StandardError(other.spread.error, 15)})

    assert alarms(pair, 100) > 0.95
    assert alarms(unpaired, 100) < 0.05


def test_paired_runs_without_a_difference_rarely_differ():
    """For the same documents with noise but without a shift, about one pair in twenty differs."""

    def pair(rng):
        documents = rng.normal(5, 1, (16, 1))
        return tuple(estimate(documents + rng.normal(0, 1, (16, 1))) for _ in range(2))

    assert alarms(pair) < 0.08


def test_a_shift_equal_in_all_parts_is_not_significant():
    """A shift that pairing shows without any error, such as by rounding, is judged with a tenth of the single error."""
    rng = np.random.default_rng(1)
    values = rng.normal(5, 1, (16, 8))
    worse, p = measure_change(estimate(values), estimate(values - 0.001))
    assert worse == pytest.approx(0.001)
    assert p > 0.5


def test_a_change_of_one_step_of_the_resolution_is_not_significant():
    """A share that changes by one unit is within the resolution, and one that changes by eight is not."""
    stuck = np.full((16, 1), 0.01)
    one = estimate(stuck, resolution=0.001)
    assert measure_change(one, estimate(stuck - 0.001, resolution=0.001))[1] > 0.05
    assert measure_change(one, estimate(stuck - 0.008, resolution=0.001))[1] < 0.001


def test_numbers_without_an_error_change_if_they_differ():
    """A count changes if it differs, and a float if it differs by more than float32 rounding."""
    assert measure_change(make_measurement("n", 0.75, above=0), make_measurement("n", 0.75 + 1e-6, above=0))[1] == 1
    assert measure_change(make_measurement("n", 12, above=0), make_measurement("n", 11, above=0)) == (1.0, 0.0)


def test_an_interval_without_a_standard_error_is_taken_as_normal():
    """The standard error of a given 95 % interval is its half width divided by 1.96."""
    one, other = (make_measurement("n", v, interval=(v - 0.1, v + 0.1), above=0) for v in (1.0, 0.8))
    expected = 2 * stats.norm.sf(0.2 / (math.hypot(0.1, 0.1) / 1.96))
    assert measure_change(one, other)[1] == pytest.approx(expected, rel=0.02)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 2))
def test_a_change_is_antisymmetric(a, b, error):
    """A change in the other direction has the opposite sign and the same p-value."""

    def one(value):
        return Measurement("x", value, above=0.3, method="made", low=value, high=value, spread=StandardError(error, 15))

    forth, back = measure_change(one(a), one(b)), measure_change(one(b), one(a))
    assert forth == pytest.approx((-back[0], back[1]))
    assert 0 <= forth[1] <= 1


def test_a_distance_from_controls_that_shrinks_is_worse_whatever_a_bound_gains():
    before, after = (
        make_measurement("n", v, interval=(v - 0.01, v + 0.01), below=1, higher_by=0.3) for v in (0.9, 0.5)
    )
    assert measure_change(before, after).worsening == pytest.approx(0.4)
    assert measure_change(after, before).worsening == pytest.approx(0.4)  # towards the bound


def test_numbers_too_large_to_be_exact_are_no_counts():
    before, after = (make_measurement("n", v, above=1) for v in (3.0000000001e20, 3e20))
    assert measure_change(before, after).p_value == 1
