"""Laws of random bases, and of the comparison with them."""

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_unineuron.statistics.basis import column_kurtosis, haar_rotation, rotated_kurtosis

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_a_rotation_is_orthogonal_and_seeded(size):
    """P12: RRᵀ = I; the same seed gives the same rotation, another seed another."""
    rotation = haar_rotation(size, 0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(size), rtol=0, atol=1e-5)
    assert torch.equal(rotation, haar_rotation(size, 0))
    assert size == 1 or not torch.equal(rotation, haar_rotation(size, 1))


def test_rotations_are_uniformly_distributed():
    """Entries of Haar rotations have mean zero on the diagonal too, unlike those of a plain QR decomposition."""
    diagonal = np.array([haar_rotation(4, seed).diagonal().numpy() for seed in range(800)])
    assert np.abs(diagonal.mean(axis=0)).max() < 0.08


def test_column_kurtosis_is_that_of_scipy():
    """It is Pearson's, 3 for a Normal."""
    x = RANDOM.standard_exponential((300, 4))
    np.testing.assert_allclose(column_kurtosis(x), stats.kurtosis(x, axis=0, fisher=False), rtol=1e-9)


def test_the_kurtosis_of_noise_is_one_more_draw():
    """The given basis of Gaussian columns is not special."""
    x = RANDOM.standard_normal((2000, 30))
    draws = rotated_kurtosis(x, draws=20)
    assert abs(column_kurtosis(x).mean() - draws.mean()) < 4 * draws.std()


def test_sparse_columns_stand_out_and_their_rotation_does_not():
    """P15 for a basis: a hidden rotation of a special basis is not special."""
    sparse = RANDOM.standard_normal((2000, 30)) * (RANDOM.random((2000, 30)) < 0.05)
    q, _ = np.linalg.qr(RANDOM.standard_normal((30, 30)))
    draws = rotated_kurtosis(sparse, draws=10)
    assert column_kurtosis(sparse).mean() > draws.max() + 10
    assert column_kurtosis(sparse @ q).mean() == pytest.approx(draws.mean(), rel=0.2)


def test_draws_are_seeded():
    """The same seed gives the same draws, another seed others."""
    x = RANDOM.standard_exponential((100, 5))
    np.testing.assert_array_equal(rotated_kurtosis(x, draws=3, seed=1), rotated_kurtosis(x, draws=3, seed=1))
    assert not np.array_equal(rotated_kurtosis(x, draws=3, seed=1), rotated_kurtosis(x, draws=3, seed=2))
