"""Laws of random bases, and of the comparison with them."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_unineuron.statistics import basis
from pytest_unineuron.statistics.basis import (
    column_kurtosis,
    exchanges,
    haar_rotation,
    kurtosis_deviation,
    rotations,
    some_rows,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_a_rotation_is_orthogonal_and_seeded(size):
    """P12: RRᵀ = I; the same seed gives the same rotation, another seed another."""
    rotation = haar_rotation(size, 0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(size), rtol=0, atol=1e-5)
    assert torch.equal(rotation, haar_rotation(size, 0))
    assert size == 1 or not torch.equal(rotation, haar_rotation(size, 1))


def test_rotations_are_cached_up_to_a_limit(monkeypatch):
    """All layers of a small model are drawn once; the least recently used one goes first, the last one stays."""
    monkeypatch.setattr(basis, "_rotations", OrderedDict())
    monkeypatch.setattr(basis, "CACHED_BYTES", 3 * 8 * 8 * 4)
    first, second = (haar_rotation(8, seed) for seed in (0, 1))
    haar_rotation(8, 2)
    assert haar_rotation(8, 0) is first
    haar_rotation(8, 3)
    assert haar_rotation(8, 0) is first
    assert haar_rotation(8, 1) is not second
    large = haar_rotation(20, 0)
    assert haar_rotation(20, 0) is large
    assert len(basis._rotations) == 1


def test_rotations_are_uniformly_distributed():
    """Entries of Haar rotations have mean zero on the diagonal too, unlike those of a plain QR decomposition."""
    diagonal = np.array([haar_rotation(4, seed).diagonal().numpy() for seed in range(800)])
    assert np.abs(diagonal.mean(axis=0)).max() < 0.08


def test_column_kurtosis_is_that_of_scipy():
    """It is Pearson's, 3 for a Normal."""
    x = RANDOM.standard_exponential((300, 4))
    np.testing.assert_allclose(column_kurtosis(x), stats.kurtosis(x, axis=0, fisher=False), rtol=1e-9)


def deviations(null, matrix):
    return [kurtosis_deviation(drawn) for drawn in null(matrix, 20)]


@pytest.mark.parametrize("degrees", [3, 5, 100])
def test_independent_entries_are_one_more_exchange(degrees):
    """Heavy-tailed noise, whatever its scale in each column, differs from its exchanges as these do from each other."""
    scale = np.exp(RANDOM.standard_normal(30))
    ranks = []
    for _ in range(40):
        x = RANDOM.standard_t(degrees, (300, 30)) * scale
        ranks.append(np.mean(np.array(deviations(exchanges, x)) < kurtosis_deviation(x)))
    assert stats.kstest(ranks, "uniform").pvalue > 1e-3


def test_columns_with_heavier_tails_stand_out_and_their_rotation_does_not():
    """P15 for a basis: some sparse columns among others are special, and a hidden rotation of them is not."""
    sparse = RANDOM.standard_normal((2000, 30))
    sparse[:, ::3] *= RANDOM.random((2000, 10)) < 0.05
    q, _ = np.linalg.qr(RANDOM.standard_normal((30, 30)))
    rotated = max(deviations(rotations, sparse))
    assert kurtosis_deviation(sparse) > rotated + 0.5
    assert kurtosis_deviation(sparse) > max(deviations(exchanges, sparse)) + 0.5
    assert kurtosis_deviation(sparse @ q) < 2 * rotated


def test_exchanges_keep_the_entries_of_each_row():
    """Every row holds the standardised entries that it had."""
    x = RANDOM.standard_exponential((50, 7))
    standardised = np.sort((x - np.median(x, axis=0)) / stats.iqr(x, axis=0), axis=1)
    for exchanged in exchanges(x, 2):
        np.testing.assert_allclose(np.sort(exchanged, axis=1), standardised)


@pytest.mark.parametrize("null", [rotations, exchanges])
def test_draws_are_seeded(null):
    """The same seed gives the same draws, another seed others."""
    x = RANDOM.standard_exponential((100, 5))
    one, again, other = (np.stack(list(null(x, 3, seed=seed))) for seed in (1, 1, 7))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_some_rows_are_rows_in_their_order():
    """A draw of rows holds rows of the matrix, each once; a small matrix is returned whole."""
    x = np.arange(40.0)[:, None]
    found = some_rows(x, 10)
    assert len(found) == 10
    assert (np.diff(found[:, 0]) > 0).all()
    assert some_rows(x, 40) is x
