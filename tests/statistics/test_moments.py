"""Laws of the moments (numbers are those of the methods' list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.moments import Moments
from pytest_unineuron.statistics.scratch import Scratch
from tests.strategies import batches, cut_batches


def moments(array):
    values = torch.as_tensor(array)
    return Moments.of(values, torch.arange(len(values)), torch.zeros(len(values), dtype=torch.int64))


def accumulated(parts):
    """The moments of batches that were added in place."""
    accumulator = Moments.accumulator(parts[0].shape[1], "cpu")
    for part in parts:
        accumulate(LayerBatch(torch.as_tensor(part), torch.arange(len(part)), None), [accumulator], Scratch())
    return accumulator.result()


def added(parts):
    """The sum of the moments of batches."""
    first, *others = map(moments, parts)
    return sum(others, first)


def sample(kind, n=200_000, seed=0):
    return getattr(np.random.default_rng(seed), kind)(size=(n, 1))


@given(batches(min_tokens=4))
def test_moments_agree_with_scipy(batch):
    """Mean, variance, skew and kurtosis are those of scipy in float64."""
    wide = batch.astype(np.float64)
    found = moments(batch)
    np.testing.assert_allclose(found.mean.numpy(), wide.mean(axis=0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found.variance.numpy(), wide.var(axis=0), rtol=1e-5, atol=1e-5)
    varied = wide.std(axis=0) > 1e-2
    with np.errstate(all="ignore"):
        skew, kurtosis = stats.skew(wide), stats.kurtosis(wide, fisher=False)
    np.testing.assert_allclose(found.skew.numpy()[varied], skew[varied], atol=1e-4)
    np.testing.assert_allclose(found.kurtosis.numpy()[varied], kurtosis[varied], rtol=1e-4)


@given(st.lists(st.integers(-30, 29), min_size=1, max_size=5), st.integers(0, 2**32 - 1), st.floats(0, 1e6))
def test_units_of_any_scale_agree_with_float64(exponents, seed, distance):
    """Of 1e-30 to 1e29, side by side in one layer, with means of up to a million standard deviations.

    The sum of one tile is still a float32.
    """
    random = np.random.default_rng(seed)
    values = random.standard_t(3, size=(400, len(exponents))) + distance
    batch = (values * 10.0 ** np.array(exponents)).astype(np.float32)
    found, wide = moments(batch), batch.astype(np.float64)
    wide = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    np.testing.assert_allclose(found.kurtosis, (wide**4).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.skew, (wide**3).mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.variance, batch.astype(np.float64).var(axis=0), rtol=1e-4)


@given(st.floats(1e-30, 1e30), st.floats(1e-6, 1 - 1e-6))
def test_kurtosis_is_at_least_one(scale, share):
    """It is one for two values that are equally frequent; rounding may not take it below."""
    values = np.where(np.arange(1000) < 1000 * share, scale, -scale).astype(np.float32)[:, None]
    kurtosis = moments(values).kurtosis.item()
    assert np.isnan(kurtosis) or kurtosis >= 1


def test_values_without_a_fourth_power_have_no_kurtosis():
    """A value of 1e38 after a first tile of ordinary ones has a fourth power of infinity: nan, not infinity."""
    batch = sample("standard_normal", 20_000).astype(np.float32)
    batch[-1] = 1e38
    assert np.isnan(accumulated(np.split(batch, [10_000])).kurtosis.item())


@pytest.mark.parametrize(
    ("kind", "skew", "kurtosis"),
    [("standard_normal", 0, 3), ("uniform", 0, 1.8), ("standard_exponential", 2, 9), ("laplace", 0, 6)],
)
def test_known_distributions_have_their_moments(kind, skew, kurtosis):
    """P21, P22: Pearson kurtosis is 3 for a Normal, 1.8 uniform, 9 exponential, 6 Laplace."""
    found = moments(sample(kind))
    assert found.skew.item() == pytest.approx(skew, abs=0.05)
    assert found.kurtosis.item() == pytest.approx(kurtosis, rel=0.05)


@given(batches(min_tokens=3))
def test_kurtosis_is_bounded_by_skew_and_sample_size(batch):
    """P22, P24: kurtosis ≥ 1 + skew², and at most n − 2 + 1/(n − 1)."""
    found, n = moments(batch), len(batch)
    known = ~torch.isnan(found.kurtosis)
    kurtosis, skew = found.kurtosis[known], found.skew[known]
    spread = found.variance[known].sqrt() > 1e-2  # below that float32 input is its own rounding
    assert bool((kurtosis >= 1 + skew**2 - 1e-4)[spread].all())
    assert bool((kurtosis <= n - 2 + 1 / (n - 1) + 1e-4)[spread].all())


def test_two_points_have_the_smallest_kurtosis():
    """P22: a symmetric two-point distribution has kurtosis 1."""
    assert moments([[1.0], [-1.0]] * 50).kurtosis.item() == pytest.approx(1.0)


def test_one_outlier_has_the_largest_kurtosis():
    """P24: a single outlier among n reaches n − 2 + 1/(n − 1)."""
    found = moments([[0.0]] * 20 + [[7.0]])
    assert found.kurtosis.item() == pytest.approx(21 - 2 + 1 / 20)


def test_kurtosis_ignores_scale_and_offset_and_skew_flips_with_the_sign():
    """P23: an affine change of a unit changes at most the sign of its skew."""
    x = sample("standard_exponential", 5000)
    plain, changed = moments(x), moments(-3 * x + 10)
    assert changed.kurtosis.item() == pytest.approx(plain.kurtosis.item(), rel=1e-6)
    assert changed.skew.item() == pytest.approx(-plain.skew.item(), rel=1e-6)


def test_skew_and_kurtosis_of_a_constant_unit_are_undefined():
    """They are nan, and the variance is zero."""
    found = moments(np.full((100, 1), 0.1, dtype=np.float32))
    assert torch.isnan(found.skew).all()
    assert torch.isnan(found.kurtosis).all()
    assert found.variance.item() == pytest.approx(0, abs=1e-12)


def placed(mean, n=262_144):
    """Float32 values of a unit whose mean is ``mean`` standard deviations from zero."""
    return (sample("standard_normal", n) + mean).astype(np.float32)


def heavy(n=262_144):
    """Values with a kurtosis near 10⁴ and a mean of ten standard deviations: one in ten thousand is an outlier."""
    random = np.random.default_rng(0)
    x = np.where(random.random((n, 1)) < 1e-4, random.normal(0, 1, (n, 1)) * 58 + 100, random.normal(0, 0.1, (n, 1)))
    return (x + 10 * x.std()).astype(np.float32)


@pytest.mark.parametrize("x", [placed(0), placed(100), placed(1000), heavy()], ids=["0 σ", "100 σ", "1000 σ", "heavy"])
def test_sums_of_shifted_powers_are_exact_to_a_millionth(x):
    """Raw powers would fail here. It holds in one batch, in many added in place, and in many added up."""
    wide = x[:, 0].astype(np.float64)
    parts = np.array_split(x, 100)
    for found in (moments(x), accumulated(parts), added(parts)):
        assert found.mean.item() == pytest.approx(wide.mean(), rel=1e-6, abs=1e-7)
        assert found.variance.item() == pytest.approx(wide.var(), rel=1e-6)
        assert found.skew.item() == pytest.approx(stats.skew(wide), rel=1e-6, abs=1e-6)
        assert found.kurtosis.item() == pytest.approx(stats.kurtosis(wide, fisher=False), rel=1e-6)


def test_moments_are_exact_if_the_text_changes_its_nature():
    """The shift is the mean of the first tile, which may lie several standard deviations from that of the whole."""
    x = np.concatenate([placed(0, 2000), placed(30, 200_000)])
    wide, found = x[:, 0].astype(np.float64), accumulated(np.array_split(x, 100))
    assert found.variance.item() == pytest.approx(wide.var(), rel=1e-6)
    assert found.kurtosis.item() == pytest.approx(stats.kurtosis(wide, fisher=False), rel=1e-5)


@given(cut_batches())
def test_float64_moments_do_not_depend_on_the_cuts(case):
    """Several machines get the result of one to 1e-9, whether batches are added in place or added up."""
    batch, cuts = case
    batch = batch.astype(np.float64)
    parts = np.split(batch, cuts)
    for found in (accumulated(parts), added(parts)):
        spread = batch.std(axis=0).max() + 1e-30
        for power, name in enumerate(("m2", "m3", "m4"), start=2):
            scale = len(batch) * max(spread, 1e-3) ** power
            np.testing.assert_allclose(
                getattr(found, name), getattr(moments(batch), name), rtol=1e-9, atol=1e-9 * scale
            )
        np.testing.assert_allclose(found.mean, moments(batch).mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dtype", "step"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)], ids=["bf16", "fp16"])
@pytest.mark.parametrize("mean", [0, 3, 10])
def test_half_precision_moments_are_those_of_the_rounded_values(dtype, step, mean):
    """They agree to a millionth; the rounding by the model adds about (m · step)² / 12 to the variance."""
    x = torch.from_numpy(placed(mean, 100_000))
    rounded, exact = x.to(dtype).double().numpy(), x.double().numpy()
    found = moments(x.to(dtype))
    assert found.variance.item() == pytest.approx(rounded.var(), rel=1e-6)
    assert found.kurtosis.item() == pytest.approx(stats.kurtosis(rounded, fisher=False)[0], rel=1e-6)
    assert found.variance.item() == pytest.approx(exact.var(), rel=(1 + mean) * step + ((4 + mean) * step) ** 2)


def test_half_precision_input_is_widened():
    """P10: values whose squares overflow float16 have a finite variance."""
    x = torch.full((4096, 1), 300.0, dtype=torch.float16)
    x[::2] = -300.0
    assert moments(x).variance.item() == pytest.approx(9e4)


def test_pooled_moments_are_those_of_the_flattened_array():
    """Their kurtosis is that of scipy over all units and tokens."""
    x = np.random.default_rng(0).standard_normal((500, 7)) * np.arange(1, 8)
    pooled = moments(x).pooled()
    assert pooled.kurtosis.item() == pytest.approx(stats.kurtosis(x, axis=None, fisher=False), rel=1e-9)
