"""Laws of the share of tokens at which a unit is on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import stats

from pytest_unineuron.statistics.firing import Firing
from tests.strategies import batches


def density(array):
    values = torch.as_tensor(array)
    return Firing.of(values, torch.arange(len(values)), torch.arange(len(values))).density.numpy()


@given(batches())
def test_density_is_the_exact_share_above_zero(batch):
    """P27: the density is the share of values above zero, exactly."""
    np.testing.assert_array_equal(density(batch), (batch > 0).mean(axis=0))


@given(batches())
def test_density_and_its_mirror_leave_only_ties(batch):
    """P27: density(x) + density(−x) is one minus the share of exact zeros."""
    np.testing.assert_allclose(density(batch) + density(-batch), 1 - (batch == 0).mean(axis=0), atol=1e-12)


def test_density_of_a_normal():
    """P27: for N(μ, σ²) the density is Φ(μ/σ)."""
    x = np.random.default_rng(0).normal(-1, 2, (400_000, 1))
    assert density(x)[0] == pytest.approx(stats.norm.cdf(-0.5), abs=0.003)
