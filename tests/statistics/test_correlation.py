"""Laws of correlation, best matches and random bases (numbers are those of the methods' list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.correlation import (
    BestMatchSearch,
    CentredUnits,
    CrossComoments,
    LayerComoments,
    PairComoments,
    ShiftedUnits,
    inverse_deviation,
)
from tests.strategies import cut_batches


def sample(tokens, units, seed=0):
    """Sparse, skewed, correlated activations, [token, unit]."""
    random = np.random.default_rng(seed)
    return (random.exponential(size=(tokens, units)) ** 2 @ (np.eye(units) + 0.2)).astype(np.float32)


def best(*blocks, absolute=False):
    """The best matches over the columns of all blocks, which lie side by side."""
    search, offset = BestMatchSearch(len(blocks[0]), absolute=absolute), 0
    for block in blocks:
        search.update(block, offset)
        offset += block.shape[1]
    return search.best()


def shifted(units, shift=None):
    return ShiftedUnits.of(torch.tensor(units), shift)


def gathered(x, y, cuts=()):
    parts = [
        CrossComoments.of(shifted(a), shifted(b)) for a, b in zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    ]
    return sum(parts[1:], parts[0])


def turned(x, y, rotation, columns=slice(None), *, standardised=False):
    """ρ with the directions of another basis, by the algebra."""
    within = LayerComoments.of(shifted(y[:, columns]))
    if standardised:
        rotation = rotation * inverse_deviation(within.deviation())
    return gathered(x, y).direction_correlation(columns, rotation / within.deviation_along(rotation)[:, None])


def brute_force(x, y):
    """ρ of every pair in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):
        a, b = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    return a.T @ b / len(x)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e4, 1), (0, 300), (-50, 1e-3)])
def test_it_agrees_with_float64(offset, scale):
    """P9, P10: also for means far from zero, and for sums of squares beyond half precision."""
    x, y = sample(4000, 40) * np.float32(scale) + np.float32(offset), sample(4000, 30, seed=1)
    y[:, :10] += x[:, :10] / np.float32(scale)
    found = gathered(x, y)
    np.testing.assert_allclose(found.correlation().numpy(), brute_force(x, y), atol=1e-5)


def test_half_precision_does_not_overflow():
    """P10: a batch whose sum of squares exceeds 65 504 made the original's ρ zero."""
    x = torch.as_tensor(30 * sample(4000, 12)).half()
    found = gathered(x.numpy(), x.numpy())
    expected = brute_force(x.numpy(), x.numpy())
    np.testing.assert_allclose(found.correlation().numpy(), expected, atol=1e-5)


@given(cut_batches(max_tokens=60), st.integers(0, 3))
def test_a_cut_batch_adds_up_to_the_whole(case, seed):
    """P5: however the tokens are cut, the co-moments are those of one batch."""
    x, cuts = case
    y = x @ np.random.default_rng(seed).normal(size=(x.shape[1], 3)).astype(np.float32)
    whole, joined = gathered(x, y), gathered(x, y, cuts=cuts)
    size = float(np.abs(x).max() * np.abs(y).max()) + 1
    np.testing.assert_allclose(joined.covariance().numpy(), whole.covariance().numpy(), atol=1e-5 * size)
    assert joined.count == whole.count == len(x)


def test_taking_batches_is_adding_them():
    """About a fixed shift, as the engine does it, or each about its own mean."""
    x, y = sample(3000, 8), sample(3000, 6, seed=1)
    near_x, near_y = torch.as_tensor(x[:100]).mean(0), torch.as_tensor(y[:100]).mean(0)
    taken = CrossComoments.zeros(near_x, near_y)
    for part in range(0, 3000, 500):
        rows = slice(part, part + 500)
        taken.update(shifted(x[rows], near_x), shifted(y[rows], near_y))
    np.testing.assert_allclose(taken.correlation().numpy(), brute_force(x, y), atol=1e-6)


def test_a_model_with_itself():
    """P1, P2, P6: the diagonal is one, nothing is beyond one, and swapping the models transposes."""
    x, y = sample(2000, 25), sample(2000, 10, seed=1)
    own = gathered(x, x)
    np.testing.assert_allclose(own.correlation().diagonal().numpy(), 1, atol=1e-6)
    assert best(own.correlation()).partner.tolist() == list(range(25))
    assert own.correlation().abs().max() <= 1 + 1e-6
    there, back = gathered(x, y).correlation(), gathered(y, x).correlation()
    np.testing.assert_allclose(there.numpy(), back.T.numpy(), atol=1e-6)


def test_scale_shift_and_sign():
    """P3: a positive affine change of a unit changes nothing, a negative one the sign."""
    x, y = sample(2000, 6), sample(2000, 6, seed=1)
    plain = gathered(x, y).correlation().numpy()
    moved = gathered(x * np.float32([1, 2, 3, 0.1, 10, 5]) + np.float32(7), y).correlation().numpy()
    np.testing.assert_allclose(moved, plain, atol=1e-5)
    np.testing.assert_allclose(gathered(-x, y).correlation().numpy(), -plain, atol=1e-6)


def test_the_order_of_units_and_tokens():
    """P4, P5: permuting the second model's units permutes columns; permuting or repeating tokens does nothing."""
    random, x, y = np.random.default_rng(2), sample(2000, 9), sample(2000, 12, seed=1)
    plain = best(gathered(x, y).correlation())
    order = random.permutation(12)
    moved = best(gathered(x, y[:, order]).correlation())
    np.testing.assert_array_equal(order[moved.partner.numpy()], plain.partner.numpy())
    tokens = random.permutation(2000)
    for same in (gathered(x[tokens], y[tokens]), gathered(np.tile(x, (2, 1)), np.tile(y, (2, 1)))):
        np.testing.assert_allclose(best(same.correlation()).correlation.numpy(), plain.correlation.numpy(), atol=1e-6)


def test_a_constant_unit_is_undefined():
    """P7: not zero, on neither side, and nobody's partner; also where its value is no round number."""
    x, y = sample(500, 4), sample(500, 5, seed=1)
    x[:, 1], y[:, 3] = 0.1, 1e4 / 3
    found = gathered(x, y, cuts=[123])
    correlation = found.correlation()
    assert torch.isnan(correlation[1]).all()
    assert torch.isnan(correlation[:, 3]).all()
    assert torch.isnan(correlation).sum() == 5 + 4 - 1
    chosen = best(correlation)
    assert chosen.partner[1] == -1
    assert torch.isnan(chosen.correlation[1])
    assert 3 not in chosen.partner.tolist()


def test_independent_units_are_hardly_correlated():
    """P8, P11: the best of N is below the square root of 2 ln N over n, and so is a model shifted by a token."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(4000, 50)).astype(np.float32), random.normal(size=(4000, 60)).astype(np.float32)
    bound = 1.25 * np.sqrt(2 * np.log(3000) / 4000)
    assert best(gathered(x, y).correlation()).correlation.max() < bound
    assert best(gathered(x, np.roll(x, 1, axis=0)).correlation()).correlation.max() < bound


def test_more_units_cannot_lower_the_best_match():
    """P19."""
    x, y = sample(800, 10), sample(800, 20, seed=1)
    few, many = (best(gathered(x, y[:, :size]).correlation()).correlation for size in (8, 20))
    assert (many >= few - 1e-6).all()


@pytest.mark.parametrize("absolute", [False, True])
def test_blocks_of_columns_are_one_matrix(absolute):
    """Layer by layer, as the engine goes, or all at once; constant units among them."""
    x, y = sample(500, 7), sample(500, 12, seed=1)
    x[:, 2], y[:, :4] = 3, 1
    found = gathered(x, -y)
    whole = best(found.correlation(), absolute=absolute)
    parts = best(found.correlation(slice(4)), found.correlation(slice(4, 12)), absolute=absolute)
    for name in ("partner", "correlation", "sign"):
        np.testing.assert_allclose(getattr(parts, name).numpy(), getattr(whole, name).numpy())
    assert whole.partner[2] == -1


def test_opposites_count_where_signs_are_arbitrary():
    """B6: the antipodal twin of a unit is its match only if its sign says nothing."""
    x = sample(1000, 5)
    y = np.concatenate([-x[:, :1], sample(1000, 3, seed=4)], axis=1)
    correlation = gathered(x, y).correlation()
    absolute = best(correlation, absolute=True)
    assert (absolute.partner[0], absolute.sign[0]) == (0, -1)
    assert absolute.correlation[0] == pytest.approx(1, abs=1e-6)
    assert best(correlation).correlation[0] < 0.9
    assert best(correlation).sign.tolist() == [1] * 5


@pytest.mark.parametrize("units", [1, 255, 256, 700])
def test_half_a_product_is_the_whole(units):
    """A layer with itself, tile by tile, against float64; a constant unit has no deviation."""
    x = sample(300, 700)[:, :units] + np.float32(5)
    x[:, 0] = 0.1
    shift = torch.as_tensor(x[:50]).mean(0)
    found = LayerComoments.zeros(shift)
    for rows in (slice(0, 50), slice(50, 300)):
        found.update(shifted(x[rows], shift))
    expected = np.cov(x.astype(np.float64), rowvar=False, bias=True).reshape(units, units)
    np.testing.assert_allclose(found.covariance().numpy(), expected, atol=1e-5 * np.abs(expected).max() + 1e-12)
    deviation = found.deviation().numpy()
    assert np.isnan(deviation[0])
    np.testing.assert_allclose(deviation[1:] ** 2, expected.diagonal()[1:], rtol=1e-5)


@pytest.mark.parametrize("standardised", [False, True])
def test_a_rotation_needs_no_rotated_activations(standardised):
    """The algebra against activations rotated in float64, within each layer of its own."""
    x, y, sizes = sample(3000, 12), sample(3000, 20, seed=1) * np.float32(3), [8, 12]
    y[:, :6] += x[:, :6]
    start = 0
    for layer, size in enumerate(sizes):
        rotation, columns = haar_rotation(size, layer), slice(start, start + size)
        units = y[:, columns].astype(np.float64)
        expected = brute_force(x, (units / units.std(0) if standardised else units) @ rotation.double().numpy().T)
        found = turned(x, y, rotation, columns, standardised=standardised)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
        start += size


def test_isotropic_noise_has_no_excess():
    """P13: in a basis like any other the best unit is no better than the best direction."""
    random = np.random.default_rng(5)
    y = random.normal(size=(3000, 100)).astype(np.float32)
    x = (y @ random.normal(size=(100, 150)) + 5 * random.normal(size=(3000, 150))).astype(np.float32)
    found = gathered(x, y)
    excess = best(found.correlation()).correlation - best(turned(x, y, haar_rotation(100, 0))).correlation
    assert abs(excess.mean()) < 3 * excess.std() / np.sqrt(150)


def test_rescaling_changes_the_baseline_only_unless_standardised():
    """P20, B3: a few units of large variance rule every direction of an unstandardised basis."""
    x, y = sample(2000, 30), sample(2000, 30, seed=1)
    y[:, :15] += x[:, :15]
    scaled = y * np.where(np.arange(30) < 2, 30, 1).astype(np.float32)
    plain, moved = gathered(x, y), gathered(x, scaled)
    rotation = haar_rotation(30, 0)

    def baselines(units, *, standardised):
        return best(turned(x, units, rotation, standardised=standardised)).correlation.numpy()

    np.testing.assert_allclose(best(plain.correlation()).correlation, best(moved.correlation()).correlation, atol=1e-5)
    standardised = [baselines(units, standardised=True) for units in (y, scaled)]
    np.testing.assert_allclose(*standardised, atol=1e-5)
    raw = [baselines(units, standardised=False).mean() for units in (y, scaled)]
    assert abs(raw[0] - raw[1]) > 0.02


def centred(units):
    return CentredUnits.of(torch.as_tensor(units))


def paired(x, y):
    return PairComoments.of(centred(x), [(centred(y), torch.arange(y.shape[1]))])


@pytest.mark.parametrize("offset", [0, 1e4])
def test_pairs_agree_with_numpy(offset):
    """Chosen pairs, read without a product, in any cut."""
    x, y = sample(3000, 8) + np.float32(offset), sample(3000, 8, seed=1)
    y += 0.5 * (x - np.float32(offset))
    cuts = [7, 1900]
    pieces = zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    parts = [paired(a, b) for a, b in pieces]
    found = parts[0] + parts[1] + parts[2]
    np.testing.assert_allclose(found.correlation[0].numpy(), brute_force(x, y).diagonal(), atol=1e-6)


def test_pairs_with_a_constant_side_are_undefined():
    """Nan, whatever the constant."""
    x, y = sample(100, 3), sample(100, 3, seed=1)
    x[:, 0], y[:, 2] = 0.3, 123.456
    found = paired(x[:50], y[:50]) + paired(x[50:], y[50:])
    assert torch.isnan(found.correlation[0]).tolist() == [True, False, True]


def test_several_comparisons_share_their_first_unit():
    """What is read at once is what would be read apart; units can be chosen in any order."""
    x, y = sample(400, 5), sample(400, 9, seed=1)
    order = torch.tensor([8, 0, 3, 3, 1])
    both = PairComoments.of(centred(x), [(centred(y[:, :5]), torch.arange(5)), (centred(y), order)]).correlation
    for index, columns in enumerate((np.arange(5), order.numpy())):
        np.testing.assert_allclose(both[index].numpy(), brute_force(x, y[:, columns]).diagonal(), atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e3])
def test_centred_units_can_be_turned(offset):
    """Layer by layer, against float64: values, and means that let batches be joined; the input is left as it was."""
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


# -- sums about other shifts, and what a merge over ranks needs ---------------------------------------------------


def tensors(sums):
    return {name: value.double().numpy() for name, value in sums.as_tensors().items()}


def alike(found, expected, tolerance):
    for name, value in tensors(expected).items():
        scale = np.abs(value).max() + 1
        np.testing.assert_allclose(tensors(found)[name], value, atol=tolerance * scale, err_msg=name)


KIND_OF_SUM = {
    "covariation": lambda x, shifts: CrossComoments.of(shifted(x, shifts[0]), shifted(x[:, ::-1].copy(), shifts[1])),
    "within": lambda x, shifts: LayerComoments.of(shifted(x, shifts[0])),
}


def moved(sums, *shifts):
    return sums.about(*shifts[: len(sums.shifts)])


@pytest.mark.parametrize("kind", list(KIND_OF_SUM))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(deadline=None)
@given(cut_batches(max_tokens=40), st.integers(0, 9))
def test_sums_can_be_told_about_other_shifts(kind, dtype, case, seed):
    """As if they had been gathered about these; twice is once; there and back is nothing."""
    x, random = case[0].astype(dtype), np.random.default_rng(seed)
    size = np.abs(x).max() + 1
    one, two = ([torch.as_tensor((size * random.normal(size=x.shape[1])).astype(dtype)) for _ in "xy"] for _ in "ab")
    gathers, tolerance = KIND_OF_SUM[kind], 1e-9 if dtype == np.float64 else 1e-4
    first, second = gathers(x, one), gathers(x, two)
    if kind == "within":  # of a symmetric product only the upper triangle is there
        for sums in (first, second):
            sums.cross.triu_()
        about = lambda sums, *shifts: _upper(moved(sums, *shifts))  # noqa: E731
    else:
        about = moved
    alike(about(first, *two), second, tolerance)
    alike(about(moved(first, *second.shifts), *one), first, tolerance)
    alike(about(about(first, *two), *two), about(first, *two), 0)


def _upper(sums):
    sums.cross.triu_()
    return sums


@pytest.mark.parametrize("kind", list(KIND_OF_SUM))
@settings(deadline=None)
@given(cut_batches(max_tokens=60))
def test_float64_sums_add_up_to_the_whole(kind, case):
    """To 1e-9, however the tokens are cut, each part about its own mean."""
    x, cuts = case[0].astype(np.float64), case[1]
    parts = [KIND_OF_SUM[kind](part, (None, None)) for part in np.split(x, cuts)]
    joined, whole = sum(parts[1:], parts[0]), KIND_OF_SUM[kind](x, (None, None))
    scale = np.abs(x).max() ** 2 + 1
    assert joined.count == whole.count
    assert joined.covariance().dtype == torch.float64
    np.testing.assert_allclose(joined.covariance(), whole.covariance(), atol=1e-9 * scale)
    np.testing.assert_allclose(joined.covariance(), whole.covariance(), atol=1e-9 * scale)


def test_sums_can_be_taken_apart_and_put_together():
    """As tensors by name, to be saved or sent; nothing is lost."""
    x, y = sample(100, 6), sample(100, 4, seed=1)
    for sums in (CrossComoments.of(shifted(x), shifted(y)), LayerComoments.of(shifted(x))):
        again = type(sums).from_tensors(sums.as_tensors())
        assert again.count == sums.count
        for name, value in sums.as_tensors().items():
            assert torch.equal(again.as_tensors()[name], value)
        joined, twice = again + again, sums + sums
        for name, value in twice.as_tensors().items():
            assert torch.equal(joined.as_tensors()[name], value)


def test_precision_is_that_of_the_units():
    """Float64 stays float64 throughout; half precision is widened to float32, where it stays."""
    x = torch.as_tensor(sample(200, 6))
    for given_as, kept in ((torch.float64, torch.float64), (torch.float32, torch.float32), (torch.half, torch.float32)):
        units = ShiftedUnits.of(x.to(given_as, copy=True))
        found = CrossComoments.of(units, units)
        directions = LayerComoments.of(units).deviation_along(torch.eye(6, dtype=kept))
        made = (
            units.values,
            found.correlation(),
            found.deviation_x,
            directions,
            centred(x.to(given_as)).values,
            best(found.correlation()).correlation,
        )
        assert {tensor.dtype for tensor in made} == {kept}


# -- blocks of rows ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_rows_can_be_looked_at_in_turn(rows, columns, absolute):
    """In blocks of rows and columns, with constant units and ties, as all at once; of ties the first is taken."""
    block = torch.as_tensor(np.random.default_rng(rows).integers(-2, 3, size=(rows, columns))).float() / 4
    block[rows // 2] = torch.nan
    whole = best(block, absolute=absolute)
    search = BestMatchSearch(rows, absolute=absolute)
    for part in (slice(0, rows // 2), slice(rows // 2, rows)):
        for start, stop in ((0, columns // 2), (columns // 2, columns)):
            if stop > start and part.stop > part.start:
                search.update(block[part, start:stop], start, part)
    for name in ("partner", "correlation", "sign"):
        np.testing.assert_array_equal(getattr(search.best(), name), getattr(whole, name))


def test_part_of_the_units_keeps_what_is_summed():
    """Sums are made once, for the whole; all of the units are the whole itself."""
    units = shifted(sample(50, 9))
    part = slice(2, 7)
    fresh = units[part]
    assert units[:] is units
    np.testing.assert_allclose(units.sums[part], fresh.sums, atol=1e-3)
    assert torch.equal(units[part].sums, units.sums[part])
    assert "sums" in units[part].__dict__
    assert "squares" not in units[part].__dict__
