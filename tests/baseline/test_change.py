"""When two numbers differ: by more than their errors, and what they have in common does not count."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special, stats

from pytest_unineuron import jackknife
from pytest_unineuron.baseline.change import measure_change, two_sided_p_value
from pytest_unineuron.evidence.measurement import Measurement, make_measurement
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


def estimate(values, **said):
    return make_measurement("mean", jackknife(lambda s: s.mean, Groups(values), **said), above=0.0)


def alarms(make, runs=600):
    """The share of pairs that differ at five per cent."""
    rng = np.random.default_rng(0)
    return np.mean([measure_change(*make(rng))[1] <= 0.05 for _ in range(runs)])


def test_two_runs_of_the_same_alarm_as_often_as_they_may():
    """Independent documents, no true difference: about one in twenty, unpaired."""

    def pair(rng):
        one, other = (estimate(rng.normal(5, 1, (16, 8))) for _ in range(2))
        return one, Measurement(**{**vars(other), "spread": StandardError(other.spread.error, 15)})

    assert alarms(pair) < 0.08


def test_what_two_runs_have_in_common_cancels():
    """The same documents twice, moved by far less than the spread between documents: seen when paired, else not."""

    def pair(rng):
        documents = rng.normal(5, 3, (16, 1))
        one, other = (estimate(documents + shift + rng.normal(0, 0.05, (16, 8))) for shift in (0, -0.6))
        return one, other

    def unpaired(rng):
        one, other = pair(rng)
        return one, Measurement(**{**vars(other), "spread": StandardError(other.spread.error, 15)})

    assert alarms(pair, 100) > 0.95
    assert alarms(unpaired, 100) < 0.05


def test_pairs_without_a_difference_alarm_as_often_as_they_may():
    """The same documents, noise of the order of their spread, no shift."""

    def pair(rng):
        documents = rng.normal(5, 1, (16, 1))
        return tuple(estimate(documents + rng.normal(0, 1, (16, 1))) for _ in range(2))

    assert alarms(pair) < 0.08


def test_rounding_in_all_parts_alike_is_no_change():
    """A neuron that crosses a threshold in every part: no error is left by pairing, a tenth of one is kept."""
    rng = np.random.default_rng(1)
    values = rng.normal(5, 1, (16, 8))
    worse, p = measure_change(estimate(values), estimate(values - 0.001))
    assert worse == pytest.approx(0.001)
    assert p > 0.5


def test_a_share_moves_in_steps():
    """One unit more or less is within the resolution; ten are not."""
    stuck = np.full((16, 1), 0.01)
    one = estimate(stuck, resolution=0.001)
    assert measure_change(one, estimate(stuck - 0.001, resolution=0.001))[1] > 0.05
    assert measure_change(one, estimate(stuck - 0.008, resolution=0.001))[1] < 0.001


def test_counts_without_an_error_change_when_they_differ():
    """Beyond the last bits of a float32."""
    assert measure_change(make_measurement("n", 0.75, above=0), make_measurement("n", 0.75 + 1e-6, above=0))[1] == 1
    assert measure_change(make_measurement("n", 12, above=0), make_measurement("n", 11, above=0)) == (1.0, 0.0)


def test_intervals_given_by_hand_count_too():
    """Taken for Normal ones of 95 %."""
    one, other = (make_measurement("n", v, interval=(v - 0.1, v + 0.1), above=0) for v in (1.0, 0.8))
    expected = 2 * stats.norm.sf(0.2 / (math.hypot(0.1, 0.1) / 1.96))
    assert measure_change(one, other)[1] == pytest.approx(expected, rel=0.02)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 2))
def test_a_change_is_the_same_backwards(a, b, error):
    """What got worse by so much got better by so much the other way, with the same p."""

    def one(value):
        return Measurement("x", value, above=0.3, method="made", low=value, high=value, spread=StandardError(error, 15))

    forth, back = measure_change(one(a), one(b)), measure_change(one(b), one(a))
    assert forth == pytest.approx((-back[0], back[1]))
    assert 0 <= forth[1] <= 1
