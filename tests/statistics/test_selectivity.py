"""Laws of the search for selective units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.statistics.selectivity import confirmed, separation, split

POSITIVE = np.arange(160) < 80


def responses(units=500, planted=20, seed=0):
    """Noise, [sentence set, word, unit], with a difference between classes in the first ``planted`` units."""
    random = np.random.default_rng(seed)
    means = random.standard_normal((2, 160, units))
    means[:, POSITIVE, :planted] += 4
    return means


@settings(max_examples=10)
@given(st.lists(st.integers(0, 30), min_size=160, max_size=160), st.integers(0, 5))
def test_no_token_is_in_both_halves(tokens, seed):
    """Words that are read at the same token stay together, and every word is in exactly one half."""
    tokens = np.array(tokens)
    halves = split(POSITIVE, tokens, seed)
    assert np.array_equal(halves.first, ~halves.second)
    assert not set(tokens[halves.first]) & set(tokens[halves.second])


def test_halves_are_even_if_every_word_has_a_token_of_its_own():
    """Each half then has forty words of each class."""
    assert split(POSITIVE, np.arange(160), 0).smallest(POSITIVE) == 40


def test_planted_units_are_found_and_others_are_not():
    """All twenty planted units are found, and fewer than one in two hundred others."""
    found = confirmed(responses(), POSITIVE, split(POSITIVE, np.arange(160), 0))
    assert found[:20].all()
    assert found[20:].mean() < 0.005


def test_a_unit_must_keep_its_sign():
    """A difference that has the opposite sign in the second half is not confirmed."""
    means = responses()
    means[1, :, :20] *= -1
    assert not confirmed(means, POSITIVE, split(POSITIVE, np.arange(160), 0))[:20].any()


def test_constant_units_are_not_selective():
    """They do not keep the other units from being found either."""
    means = responses()
    means[:, :, 20:30] = 0.25
    found = confirmed(means, POSITIVE, split(POSITIVE, np.arange(160), 0))
    assert found[:20].all()
    assert not found[20:30].any()


def test_separation_is_that_of_scipy_unit_by_unit():
    """AUROC and p-value of each unit are those of scipy for this unit alone."""
    values = np.round(np.random.default_rng(0).standard_normal((160, 5)), 1)  # with ties
    scores, p = separation(values, POSITIVE)
    for unit in range(5):
        test = stats.mannwhitneyu(values[POSITIVE, unit], values[~POSITIVE, unit], method="asymptotic")
        assert scores[unit] == pytest.approx(test.statistic / 6400)
        assert p[unit] == pytest.approx(test.pvalue)
