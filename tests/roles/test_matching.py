"""Neurons that are like others, and sets that neurons are dealt into."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.roles.matching import as_many, by_layer, dealt, matched


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_matched_neurons_are_others_of_the_same_layer(seed, count):
    """As many in each layer, nearer to the marked ones than neurons at random, the same for the same seed."""
    random = np.random.default_rng(seed)
    layer, value = np.repeat([0, 1, 2], 40), random.normal(size=120)
    marked = np.zeros(120, dtype=bool)
    marked[random.choice(80, count, replace=False)] = True  # none in the last layer
    found = matched(marked, layer, value, seed=seed)
    assert not (found & marked).any()
    np.testing.assert_array_equal(np.bincount(layer[found], minlength=3), np.bincount(layer[marked], minlength=3))
    np.testing.assert_array_equal(matched(marked, layer, value, seed=seed), found)
    most = np.arange(120) < 30
    everyone = matched(most, layer, value)
    assert everyone.sum() == 10  # there are no more others
    kept = as_many(most, everyone, layer)
    assert kept.sum() == 10
    assert not (kept & ~most).any()
    np.testing.assert_array_equal(as_many(marked, found, layer), marked)
    listed = by_layer(found, layer)
    assert (
        sorted(40 * number + unit for number, units in listed.items() for unit in units)
        == np.flatnonzero(found).tolist()
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_neurons_are_dealt_out_evenly(seed, parts):
    """Every marked neuron is in one part, and parts differ by one neuron at most, in every layer and in all."""
    marked = np.random.default_rng(seed).random(120) < 0.3
    found = dealt(marked, parts)
    np.testing.assert_array_equal(found.sum(axis=0), marked)
    for here in (slice(None), slice(0, 40), slice(40, 120)):
        counts = found[:, here].sum(axis=1)
        assert counts.max() - counts.min() <= 1
