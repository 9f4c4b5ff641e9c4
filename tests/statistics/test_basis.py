"""Laws of the comparison with random bases."""

import numpy as np
import pytest
from scipy import stats

from pytest_unineuron.statistics.basis import column_kurtosis, rotated_kurtosis

RANDOM = np.random.default_rng(0)


def test_column_kurtosis_is_pearson():
    """scipy's, with 3 for a Normal."""
    x = RANDOM.standard_exponential((300, 4))
    np.testing.assert_allclose(column_kurtosis(x), stats.kurtosis(x, axis=0, fisher=False), rtol=1e-9)


def test_a_rotation_of_noise_is_noise():
    """Gaussian columns are not special: their own kurtosis is one more draw."""
    x = RANDOM.standard_normal((2000, 30))
    draws = rotated_kurtosis(x, draws=20)
    assert abs(column_kurtosis(x).mean() - draws.mean()) < 4 * draws.std()


def test_a_hidden_rotation_is_not_special_but_its_source_is():
    """P15 for a basis: sparse columns stand out, the same columns rotated do not."""
    sparse = RANDOM.standard_normal((2000, 30)) * (RANDOM.random((2000, 30)) < 0.05)
    q, _ = np.linalg.qr(RANDOM.standard_normal((30, 30)))
    draws = rotated_kurtosis(sparse, draws=10)
    assert column_kurtosis(sparse).mean() > draws.max() + 10
    assert column_kurtosis(sparse @ q).mean() == pytest.approx(draws.mean(), rel=0.2)


def test_draws_are_seeded():
    """The same seed, the same draws; another seed, others."""
    x = RANDOM.standard_exponential((100, 5))
    np.testing.assert_array_equal(rotated_kurtosis(x, draws=3, seed=1), rotated_kurtosis(x, draws=3, seed=1))
    assert not np.array_equal(rotated_kurtosis(x, draws=3, seed=1), rotated_kurtosis(x, draws=3, seed=2))
