"""Laws of the correlations of chosen pairs of units."""

import numpy as np
import pytest
import torch

from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.correlation import CentredUnits, PairComoments
from tests.statistics.samples import brute_force, sample


def centred(units):
    return CentredUnits.of(torch.as_tensor(units))


def paired(x, y):
    """Every unit of x with the unit of y in the same place."""
    return PairComoments.of(centred(x), [(centred(y), torch.arange(y.shape[1]))])


@pytest.mark.parametrize("offset", [0, 1e4])
def test_correlations_of_pairs_agree_with_numpy(offset):
    """They do so however the tokens are cut, and for means far from zero."""
    x, y = sample(3000, 8) + np.float32(offset), sample(3000, 8, seed=1)
    y += 0.5 * (x - np.float32(offset))
    cuts = [7, 1900]
    parts = [paired(a, b) for a, b in zip(np.split(x, cuts), np.split(y, cuts), strict=True)]
    found = parts[0] + parts[1] + parts[2]
    np.testing.assert_allclose(found.correlation[0].numpy(), brute_force(x, y).diagonal(), atol=1e-6)


def test_a_pair_with_a_constant_unit_is_undefined():
    """Its correlation is nan, whatever the constant."""
    x, y = sample(100, 3), sample(100, 3, seed=1)
    x[:, 0], y[:, 2] = 0.3, 123.456
    found = paired(x[:50], y[:50]) + paired(x[50:], y[50:])
    assert torch.isnan(found.correlation[0]).tolist() == [True, False, True]


def test_several_comparisons_share_their_first_unit():
    """Comparisons made together are those made one by one, with partners in any order."""
    x, y = sample(400, 5), sample(400, 9, seed=1)
    order = torch.tensor([8, 0, 3, 3, 1])
    both = PairComoments.of(centred(x), [(centred(y[:, :5]), torch.arange(5)), (centred(y), order)]).correlation
    for index, columns in enumerate((np.arange(5), order.numpy())):
        np.testing.assert_allclose(both[index].numpy(), brute_force(x, y[:, columns]).diagonal(), atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e3])
def test_rotated_units_are_those_of_float64(offset):
    """Layers are scaled and rotated one by one; the mean moves along, and the input is not changed."""
    y, sizes = sample(500, 20) + np.float32(offset), [8, 12]
    before, scale = y.copy(), np.random.default_rng(0).uniform(0.5, 2, 20).astype(np.float32)
    layers, rotations = [slice(0, 8), slice(8, 20)], [haar_rotation(size, size) for size in sizes]
    found = centred(y).rotated(rotations, torch.as_tensor(scale), layers)
    np.testing.assert_array_equal(y, before)
    for layer, rotation in zip(layers, rotations, strict=True):
        expected = (y[:, layer].astype(np.float64) * scale[layer]) @ rotation.double().numpy().T
        size = expected.std()
        np.testing.assert_allclose(found.mean[layer].numpy(), expected.mean(0), rtol=1e-6, atol=1e-5 * size)
        np.testing.assert_allclose(found.values[layer].numpy(), (expected - expected.mean(0)).T, atol=1e-5 * size)
