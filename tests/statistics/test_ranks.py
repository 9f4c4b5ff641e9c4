"""Laws of comparisons by rank."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.ranks import auroc, within

pairs = st.lists(st.tuples(st.integers(-5, 5).map(float), st.booleans()), min_size=2, max_size=40)


@given(pairs)
def test_auroc_is_the_share_of_pairs_won(items):
    """The oracle counts all pairs, ties as half."""
    values, positive = np.array([v for v, _ in items]), np.array([p for _, p in items])
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in values[positive] for b in values[~positive]]
    found = auroc(values, positive)
    assert found == pytest.approx(np.mean(wins)) if wins else np.isnan(found)


def test_units_without_a_value_are_left_out():
    """A unit whose value is nan is in no pair."""
    assert auroc(np.array([1.0, np.nan, 0.0]), np.array([True, True, False])) == 1.0


def test_a_difference_between_layers_is_no_difference_within_layers():
    """The AUROC within layers of a statistic that depends on the layer alone is one half."""
    random = np.random.default_rng(0)
    layer = np.repeat([0, 1], 500)
    positive = random.random(1000) < np.where(layer == 0, 0.1, 0.6)
    values = layer * 10 + random.normal(size=1000)
    assert auroc(values, positive) > 0.7
    assert within(values, positive, layer) == pytest.approx(0.5, abs=0.06)


def test_layers_without_both_groups_are_left_out():
    """The AUROC is undefined, not one half, if no layer is left."""
    assert np.isnan(within(np.arange(4.0), np.array([True, True, False, False]), np.array([0, 0, 1, 1])))


def test_a_unit_without_a_value_gives_its_layer_no_weight():
    """A layer of which two units are known counts for one pair, however many it has."""
    values = np.concatenate([[1.0, 0.0], np.full(98, np.nan), np.random.default_rng(0).normal(size=100)])
    layer, positive = np.repeat([0, 1], 100), np.tile(np.arange(100) % 2 == 0, 2)
    own = auroc(values[100:], positive[100:])
    assert within(values, positive, layer) == pytest.approx((2500 * own + 1) / 2501)


def test_units_may_be_marked_by_one_and_zero():
    """Numbers of units are refused: as an index they would be others each time."""
    values, marked = np.array([0.1, 0.2, 0.9, 0.8]), np.array([False, False, True, True])
    layer = np.zeros(4, dtype=int)
    for given_as in (int, float):
        assert auroc(values, marked.astype(given_as)) == auroc(values, marked) == 1.0
        assert within(values, marked.astype(given_as), layer) == 1.0
    with pytest.raises(ValueError, match="marked by True and False"):
        auroc(values, np.array([0, 1, 2, 3]))


def test_masked_numbers_are_left_out_and_tensors_are_read():
    values, marked = np.array([1.0, 2.0, 3.0, 100.0]), np.array([False, True, False, True])
    masked, layer = np.ma.array(values, mask=values > 50), np.zeros(4, dtype=int)
    assert auroc(masked, marked) == within(masked, marked, layer) == 0.5
    assert auroc(torch.tensor([1.0, 2.0, torch.nan, 4.0]), marked) == 1.0
