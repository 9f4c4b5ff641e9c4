"""Laws of co-moments as sums: they can be moved to other shifts, added, taken apart and put together."""

from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.correlation import CrossComoments, LayerComoments
from tests.statistics.samples import added, sample, shifted, shifts, sums_of
from tests.strategies import cut_batches

SUMS = {
    "cross": lambda x, about: sums_of(CrossComoments, shifted(x, about[0]), shifted(x[:, ::-1].copy(), about[1])),
    "layer": lambda x, about: sums_of(LayerComoments, shifted(x, about[0])),
}
"""Co-moments of both kinds, of activations [token, unit] about two shifts, of which a layer takes the first."""

every_kind = pytest.mark.parametrize("kind", list(SUMS))


def numbers(sums):
    """The tensors of co-moments in float64; the product within a layer is only defined in its upper triangle."""
    found = {name: value.double().numpy() for name, value in sums.as_tensors().items()}
    return found if isinstance(sums, CrossComoments) else {**found, "cross": np.triu(found["cross"])}


def assert_close(found, expected, tolerance, span=0.0):
    """Compare relative to the largest number, and allow for the rounding of values as large as ``span``."""
    rounding = 4 * torch.finfo(expected.cross.dtype).eps * expected.count
    for name, value in numbers(expected).items():
        summed = {"sums": span, "squares": span**2, "cross": span**2}.get(name.split("_")[0], 0.0)
        atol = tolerance * (np.abs(value).max() + 1) + rounding * summed
        np.testing.assert_allclose(numbers(found)[name], value, atol=atol, err_msg=name)


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(cut_batches(max_tokens=40), st.integers(0, 9))
def test_sums_can_be_moved_to_other_shifts(kind, dtype, case, seed):
    """The result is that of the same tokens about these shifts; moving there and back, or twice, changes nothing."""
    x, random = case[0].astype(dtype), np.random.default_rng(seed)
    size = np.abs(x).max() + 1
    one, two = ([torch.as_tensor((size * random.normal(size=x.shape[1])).astype(dtype)) for _ in "xy"] for _ in "ab")
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    first, second = SUMS[kind](x, one), SUMS[kind](x, two)
    there, back = shifts(second).values(), shifts(first).values()
    span = 2 * size + max(float(shift.abs().max()) for shift in (*one, *two))  # sums may cancel to less than that
    moved = first.about(*there)
    assert_close(moved, second, tolerance, span)
    assert_close(moved.about(*back), first, tolerance, span)
    assert_close(moved.about(*there), moved, 0)


@every_kind
@given(cut_batches(max_tokens=60))
def test_float64_sums_add_up_to_the_whole(kind, case):
    """Parts about their own means add up to 1e-9, however the tokens are cut."""
    x, cuts = case[0].astype(np.float64), case[1]
    parts = [SUMS[kind](part, (None, None)) for part in np.split(x, cuts)]
    joined, whole = reduce(added, parts), SUMS[kind](x, (None, None))
    scale = np.abs(x).max() ** 2 + 1
    assert joined.count == whole.count
    assert joined.covariance().dtype == torch.float64
    np.testing.assert_allclose(joined.covariance(), whole.covariance(), atol=1e-9 * scale)


@pytest.mark.parametrize(
    "sums",
    [
        sums_of(CrossComoments, shifted(sample(100, 6)), shifted(sample(100, 4, seed=1))),
        sums_of(LayerComoments, shifted(sample(100, 6))),
    ],
    ids=list(SUMS),
)
def test_sums_can_be_taken_apart_and_put_together(sums):
    """Nothing is lost in tensors by name, in which sums are stored and sent."""
    again = type(sums).from_tensors(sums.as_tensors())
    assert again.count == sums.count
    for copy, original in ((again, sums), (added(again, again), added(sums, sums))):
        for name, value in original.as_tensors().items():
            assert torch.equal(copy.as_tensors()[name], value)


@pytest.mark.parametrize("units", [1, 255, 256, 700])
def test_a_layer_has_the_covariance_of_numpy(units):
    """Half of the symmetric product, computed tile by tile, is enough; a constant unit has no standard deviation."""
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
