"""Laws of correlations with the directions of random bases, the baseline of universality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.correlation import LayerComoments, inverse_deviation
from tests.statistics.samples import best, brute_force, comoments, sample, shifted, sums_of


def direction_correlation(x, y, rotation, columns=slice(None), *, standardised=False):
    """ρ of the units of x with the directions of a rotated layer of y, from co-moments alone."""
    layer = sums_of(LayerComoments, shifted(y[:, columns]))
    if standardised:
        rotation = rotation * inverse_deviation(layer.deviation())
    return comoments(x, y).direction_correlation(columns, rotation / layer.deviation_along(rotation)[:, None])


@pytest.mark.parametrize("standardised", [False, True])
def test_a_rotation_needs_no_rotated_activations(standardised):
    """ρ from co-moments is that of activations rotated in float64, within each layer by a rotation of its own."""
    x, y, sizes = sample(3000, 12), sample(3000, 20, seed=1) * np.float32(3), [8, 12]
    y[:, :6] += x[:, :6]
    start = 0
    for layer, size in enumerate(sizes):
        rotation, columns = haar_rotation(size, layer), slice(start, start + size)
        units = y[:, columns].astype(np.float64)
        expected = brute_force(x, (units / units.std(0) if standardised else units) @ rotation.double().numpy().T)
        found = direction_correlation(x, y, rotation, columns, standardised=standardised)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
        start += size


def test_isotropic_noise_has_no_excess():
    """P13: if no basis is special, the best unit is no better than the best direction."""
    random = np.random.default_rng(5)
    y = random.normal(size=(3000, 100)).astype(np.float32)
    x = (y @ random.normal(size=(100, 150)) + 5 * random.normal(size=(3000, 150))).astype(np.float32)
    rotated = best(direction_correlation(x, y, haar_rotation(100, 0)))
    excess = best(comoments(x, y).correlation()).correlation - rotated.correlation
    assert abs(excess.mean()) < 3 * excess.std() / np.sqrt(150)


def test_rescaling_units_changes_the_baseline_only_unless_standardised():
    """P20, B3: a few units of large variance dominate every direction of an unstandardised basis."""
    x, y = sample(2000, 30), sample(2000, 30, seed=1)
    y[:, :15] += x[:, :15]
    scaled = y * np.where(np.arange(30) < 2, 30, 1).astype(np.float32)
    rotation = haar_rotation(30, 0)

    def baselines(units, *, standardised):
        return best(direction_correlation(x, units, rotation, standardised=standardised)).correlation.numpy()

    plain, moved = (best(comoments(x, units).correlation()).correlation for units in (y, scaled))
    np.testing.assert_allclose(plain, moved, atol=1e-5)
    standardised = [baselines(units, standardised=True) for units in (y, scaled)]
    np.testing.assert_allclose(*standardised, atol=1e-5)
    raw = [baselines(units, standardised=False).mean() for units in (y, scaled)]
    assert abs(raw[0] - raw[1]) > 0.02


@given(
    st.lists(st.integers(-30, 30), min_size=2, max_size=6), st.integers(0, 2**32 - 1), st.sampled_from([0, 1e3, 1e6])
)
def test_directions_of_units_of_any_scale_are_right_or_undefined(exponents, seed, distance):
    """Units of 1e-30 to 1e30 in one layer, with means of up to a million deviations: a unit without one is nothing."""
    random = np.random.default_rng(seed)
    common, scales = random.normal(size=(300, 1)), 10.0 ** np.array(exponents)
    x = (common + random.normal(size=(300, 3))).astype(np.float32)
    y = ((common + random.normal(size=(300, len(scales))) + distance) * scales).astype(np.float32)
    rotation = haar_rotation(len(scales), seed)
    units, known = y.astype(np.float64), ~sums_of(LayerComoments, shifted(y)).deviation().isnan().numpy()
    standard = np.where(known, (units - units.mean(0)) / units.std(0), 0)
    for standardised, read in ((True, standard), (False, units)):
        found = direction_correlation(x, y, rotation, standardised=standardised).numpy()
        right = brute_force(x, read @ rotation.double().numpy().T)
        defined = ~np.isnan(found)
        np.testing.assert_allclose(found[defined], right[defined], atol=1e-4)
        if distance < 1e6 and (known.any() if standardised else np.abs(exponents).max() < 14):
            assert defined.all()


def test_the_directions_of_units_whose_squares_are_denormal_are_undefined():
    """Rather than off by any factor."""
    x, y = sample(500, 4), sample(500, 6, seed=1) * np.float32(1e-22)
    assert direction_correlation(x, y, haar_rotation(6, 0)).isnan().all()
