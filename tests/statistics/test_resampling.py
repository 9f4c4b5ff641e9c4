"""Laws of intervals, and of sums without one part."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.statistics.resampling import (
    against_draws,
    jackknife,
    leave_one_out_sums,
    over_splits,
    over_unit_groups,
    over_units,
)


@dataclass(eq=False)
class Groups:
    """Numbers in groups of documents: a Sample."""

    parts: list

    @property
    def groups(self):
        return len(self.parts)

    def without(self, group):
        return Groups([part for i, part in enumerate(self.parts) if i != group])

    @property
    def mean(self):
        return float(np.concatenate(self.parts).mean())


def groups(seed=0, count=16, size=50, spread=0.0):
    random = np.random.default_rng(seed)
    return Groups([random.normal(random.normal(0, spread) if spread else 0, 1, size) for _ in range(count)])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """For equal groups it is the standard deviation of their means over the square root of their number."""
    sample = groups()
    found = jackknife(lambda s: s.mean, sample)
    means = [part.mean() for part in sample.parts]
    assert found.error == pytest.approx(np.std(means, ddof=1) / 4)
    low, high = stats.t.interval(0.95, 15, loc=np.mean(means), scale=found.error)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_two_samples_add_their_variances():
    """The squared errors of independent corpora add up."""
    a, b = groups(1), groups(2)
    both = jackknife(lambda x, y: x.mean - y.mean, a, b)
    single = [jackknife(lambda s: s.mean, s).error for s in (a, b)]
    assert both.error == pytest.approx(np.hypot(*single))


def test_a_sample_given_twice_is_left_out_of_jointly():
    """The difference of a sample and itself has no error."""
    a = groups()
    assert jackknife(lambda x, y: x.mean - y.mean, a, a).error == pytest.approx(0)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    """With documents that differ, about 95 of 100 intervals contain the true mean."""
    hits = [
        abs(found.value) < found.high - found.value
        for found in (jackknife(lambda s: s.mean, groups(seed, spread=1.0)) for seed in range(400))
    ]
    assert 0.92 < np.mean(hits) < 0.98


def test_one_group_has_no_interval():
    """The error of a value from one group is nan."""
    found = jackknife(lambda s: s.mean, groups(count=1))
    assert np.isnan(found.error)


def test_over_units_gives_the_standard_error_of_a_mean():
    """The delete-one jackknife of a mean is the textbook formula."""
    values = np.random.default_rng(0).normal(size=40)
    assert over_units(np.mean, values).error == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_over_unit_groups_leaves_units_of_all_layers_out_together():
    """The interval is that of groups dealt within layers, also of two numbers of each unit, and its method says so."""
    random, layer = np.random.default_rng(0), np.repeat([0, 1], [32, 64])
    values, marked = random.normal(size=96), random.random(96) < 0.5
    found = over_unit_groups(lambda v, m: v[m].mean(), layer, values, marked)
    partial = np.array([values[(np.arange(96) % 16 != group) & marked].mean() for group in range(16)])
    assert found.value == values[marked].mean()
    assert found.error == pytest.approx(np.sqrt(15 / 16 * np.sum((partial - partial.mean()) ** 2)))
    assert found.method == "delete-a-group jackknife over 16 groups of units"


def test_over_splits_estimates_the_error_of_the_whole():
    """The standard deviation of half-sample means is the standard error of the mean of all values."""
    random = np.random.default_rng(0)
    values = random.normal(size=400)
    halves = [random.permutation(values)[:200].mean() for _ in range(2000)]
    assert over_splits(halves).error == pytest.approx(values.std(ddof=1) / 20, rel=0.06)


def test_a_further_draw_of_the_null_is_covered():
    """If the value is one more draw, about 95 of 100 intervals contain zero."""
    random = np.random.default_rng(0)
    found = [against_draws(random.normal(), random.normal(size=20)) for _ in range(2000)]
    assert np.mean([f.low < 0 < f.high for f in found]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("above", [True, False])
def test_p_values_are_those_of_a_t_test(above):
    """The oracle is the t test of the means of equal groups; p is 0.025 for a bound at the end of the interval."""
    sample = groups(seed=4, size=30)
    found = jackknife(lambda s: s.mean, sample)
    means = [part.mean() for part in sample.parts]
    for bound in (-0.1, 0.0, 0.02, found.low, found.high):
        expected = stats.ttest_1samp(means, bound, alternative="greater" if above else "less").pvalue
        assert found.p_value(bound, above=above) == pytest.approx(expected)
    assert found.p_value(found.low if above else found.high, above=above) == pytest.approx(0.025)


def test_a_value_without_error_has_p_value_zero_or_one():
    """It is beyond the bound, or it is not."""
    found = jackknife(lambda s: 1.0, groups())
    assert found.p_value(0.5, above=True) == 0
    assert found.p_value(0.5, above=False) == 1
    assert found.p_value(1.0, above=True) == 1


def test_the_error_is_at_least_the_resolution():
    """A statistic that no group changes has the error of one step; a larger error stays."""
    stuck = jackknife(lambda s: 0.003, groups(), resolution=0.001)
    assert stuck.error == 0.001
    assert stuck.low < 0.002 < 0.004 < stuck.high
    moving = jackknife(lambda s: s.mean, groups())
    assert replace(jackknife(lambda s: s.mean, groups(), resolution=1e-9), resolution=0.0) == moving


@given(st.lists(st.text("abc", max_size=3), min_size=2, max_size=20))
def test_leave_one_out_sums_are_the_sums_of_all_others_in_order(parts):
    """Strings show the order of the parts, because their addition is not commutative."""
    assert leave_one_out_sums(parts) == ["".join(parts[:i] + parts[i + 1 :]) for i in range(len(parts))]


class Counted:
    """An integer that counts how often it was added."""

    additions = 0

    def __add__(self, other):
        Counted.additions += 1
        return self


def test_leave_one_out_sums_take_a_linear_number_of_additions():
    """A hundred parts take fewer than three hundred additions, not nearly ten thousand."""
    leave_one_out_sums([Counted()] * 100)
    assert Counted.additions < 300


def test_leave_one_out_sums_need_two_parts():
    """The sum of no parts is undefined."""
    with pytest.raises(ValueError, match="needs at least 2 parts, got 1"):
        leave_one_out_sums(["a"])
