"""Laws of correlations between the units of two models (P and B numbers are those of the methods' lists)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.correlation import (
    CentredUnits,
    CrossComoments,
    LayerComoments,
    PairComoments,
    ShiftedUnits,
)
from tests.statistics.samples import best, brute_force, comoments, sample, shifted, sums_of


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e4, 1), (0, 300), (-50, 1e-3)])
def test_correlations_agree_with_float64(offset, scale):
    """P9, P10: they also agree for means far from zero, and for sums of squares beyond the range of half precision."""
    x, y = sample(4000, 40) * np.float32(scale) + np.float32(offset), sample(4000, 30, seed=1)
    y[:, :10] += x[:, :10] / np.float32(scale)
    found = comoments(x, y)
    np.testing.assert_allclose(found.correlation().numpy(), brute_force(x, y), atol=1e-5)


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_correlations_of_any_scale_are_right_or_undefined(exponents, seed):
    """Of units of 1e-30 to 1e30 side by side: never beyond one, and nan where their squares are not float32."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(300, 1))
    scales = 10.0 ** np.array(exponents)
    x, y = (((common + random.normal(size=(300, len(scales)))) * s).astype(np.float32) for s in (scales, scales[::-1]))
    expected = brute_force(x, y)
    pairs = PairComoments.of(
        CentredUnits.of(torch.as_tensor(x)), [(CentredUnits.of(torch.as_tensor(y)), torch.arange(y.shape[1]))]
    )
    for found, right in (
        (comoments(x, y).correlation().numpy(), expected),
        (pairs.correlation[0].numpy(), expected.diagonal()),
    ):
        defined = ~np.isnan(found)
        np.testing.assert_allclose(found[defined], right[defined], atol=1e-4)
    usual = (np.abs(exponents) < 14) & (np.abs(exponents[::-1]) < 14)
    assert not np.isnan(pairs.correlation[0].numpy()[usual]).any()


@given(st.integers(2, 40), st.integers(-12, 12), st.integers(0, 2**32 - 1))
def test_no_correlation_is_beyond_one(tokens, exponent, seed):
    """Not even by rounding, of a unit with itself or its opposite."""
    x = (np.random.default_rng(seed).normal(size=(tokens, 4)) * 10.0**exponent).astype(np.float32)
    units = CentredUnits.of(torch.as_tensor(np.hstack([x, -x])))
    pairs = PairComoments.of(units, [(units, torch.arange(8)), (units, torch.arange(8).roll(4))]).correlation
    chosen = best(comoments(x, x).correlation()).correlation
    assert pairs.abs().max() <= 1
    assert chosen.max() <= 1
    np.testing.assert_allclose(pairs.numpy(), [[1] * 8, [-1] * 8], atol=1e-5)


def test_a_model_correlates_perfectly_with_itself():
    """P1, P2, P6: the diagonal is one, nothing is beyond one, and swapping the models transposes."""
    x, y = sample(2000, 25), sample(2000, 10, seed=1)
    own = comoments(x, x)
    np.testing.assert_allclose(own.correlation().diagonal().numpy(), 1, atol=1e-6)
    assert best(own.correlation()).partner.tolist() == list(range(25))
    assert own.correlation().abs().max() <= 1 + 1e-6
    there, back = comoments(x, y).correlation(), comoments(y, x).correlation()
    np.testing.assert_allclose(there.numpy(), back.T.numpy(), atol=1e-6)


def test_scale_and_offset_do_not_matter_and_a_sign_flips():
    """P3: a positive affine change of a unit changes nothing, a negative one the sign."""
    x, y = sample(2000, 6), sample(2000, 6, seed=1)
    plain = comoments(x, y).correlation().numpy()
    moved = comoments(x * np.float32([1, 2, 3, 0.1, 10, 5]) + np.float32(7), y).correlation().numpy()
    np.testing.assert_allclose(moved, plain, atol=1e-5)
    np.testing.assert_allclose(comoments(-x, y).correlation().numpy(), -plain, atol=1e-6)


def test_the_order_of_units_and_tokens_does_not_matter():
    """P4, P5: permuted units have permuted partners; permuted or repeated tokens change nothing."""
    random, x, y = np.random.default_rng(2), sample(2000, 9), sample(2000, 12, seed=1)
    plain = best(comoments(x, y).correlation())
    order = random.permutation(12)
    moved = best(comoments(x, y[:, order]).correlation())
    np.testing.assert_array_equal(order[moved.partner.numpy()], plain.partner.numpy())
    tokens = random.permutation(2000)
    for same in (comoments(x[tokens], y[tokens]), comoments(np.tile(x, (2, 1)), np.tile(y, (2, 1)))):
        np.testing.assert_allclose(best(same.correlation()).correlation.numpy(), plain.correlation.numpy(), atol=1e-6)


def test_the_correlation_of_a_constant_unit_is_undefined():
    """P7: it is nan, not zero, on either side, and the unit is no partner, also if its value is not a round number."""
    x, y = sample(500, 4), sample(500, 5, seed=1)
    x[:, 1], y[:, 3] = 0.1, 1e4 / 3
    correlation = comoments(x, y, cuts=[123]).correlation()
    assert torch.isnan(correlation[1]).all()
    assert torch.isnan(correlation[:, 3]).all()
    assert torch.isnan(correlation).sum() == 5 + 4 - 1
    chosen = best(correlation)
    assert chosen.partner[1] == -1
    assert torch.isnan(chosen.correlation[1])
    assert 3 not in chosen.partner.tolist()


def test_independent_units_are_hardly_correlated():
    """P8, P11: the best of N is below √(2 ln N / n), also for a model shifted by one token."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(4000, 50)).astype(np.float32), random.normal(size=(4000, 60)).astype(np.float32)
    bound = 1.25 * np.sqrt(2 * np.log(3000) / 4000)
    assert best(comoments(x, y).correlation()).correlation.max() < bound
    assert best(comoments(x, np.roll(x, 1, axis=0)).correlation()).correlation.max() < bound


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.half, torch.float32)],
)
def test_results_have_the_precision_of_the_units(given_as, expected):
    """Float64 stays float64 throughout, and half precision is widened to float32."""
    x = torch.as_tensor(sample(200, 6))
    units = ShiftedUnits.of(x.to(given_as, copy=True))
    found = sums_of(CrossComoments, units, units)
    results = (
        units.values,
        found.correlation(),
        found.deviation_x,
        sums_of(LayerComoments, units).deviation_along(torch.eye(6, dtype=expected)),
        CentredUnits.of(x.to(given_as)).values,
        best(found.correlation()).correlation,
    )
    assert {tensor.dtype for tensor in results} == {expected}


def test_part_of_the_units_has_the_sums_of_the_whole():
    """Sums are computed once for all units; a slice of all units is the object itself."""
    units = shifted(sample(50, 9))
    part = slice(2, 7)
    fresh = units[part]
    assert units[:] is units
    np.testing.assert_allclose(units.sums[part], fresh.sums, atol=1e-3)
    assert torch.equal(units[part].sums, units.sums[part])
    assert "sums" in vars(units[part])
    assert "squares" not in vars(units[part])
