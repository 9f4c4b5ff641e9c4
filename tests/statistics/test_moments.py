"""Laws of the moments (numbers are those of the methods' list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import stats

from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.moments import Moments
from pytest_unineuron.statistics.scratch import Scratch
from tests.strategies import batches, cut_batches


def moments(array):
    values = torch.as_tensor(array)
    return Moments.of(values, torch.arange(len(values)), torch.zeros(len(values), dtype=torch.int64))


def rows(array):
    return LayerBatch(torch.as_tensor(array), torch.arange(len(array)), None)


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


@given(cut_batches())
def test_a_cut_batch_adds_up_to_the_whole(case):
    """P25: however the tokens are cut into batches, the sums are those of one batch."""
    batch, cuts = case
    whole = moments(batch)
    parts = [moments(part) for part in np.split(batch, cuts)]
    joined = sum(parts[1:], parts[0])
    spread = batch.std(axis=0, dtype=np.float64).max()
    for power, name in enumerate(("mean", "m2", "m3", "m4"), start=1):
        expected = getattr(whole, name).numpy()
        rounding = 1e-3 + 1e-4 * abs(expected).max() + 1e-6 * len(batch) * spread**power
        np.testing.assert_allclose(getattr(joined, name).numpy(), expected, rtol=1e-4, atol=rounding)


def test_merging_is_associative_to_float64():
    """P25: the order of merging changes nothing beyond 1e-9."""
    parts = [moments(sample("standard_normal", 1000, seed)) for seed in range(3)]
    left, right = (parts[0] + parts[1]) + parts[2], parts[0] + (parts[1] + parts[2])
    np.testing.assert_allclose(left.kurtosis, right.kurtosis, rtol=1e-9)
    np.testing.assert_allclose(left.skew, right.skew, rtol=1e-9)


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


def test_scaling_and_flipping():
    """P23: kurtosis ignores scale and place, skew flips with the sign."""
    x = sample("standard_exponential", 5000)
    plain, changed = moments(x), moments(-3 * x + 10)
    assert changed.kurtosis.item() == pytest.approx(plain.kurtosis.item(), rel=1e-6)
    assert changed.skew.item() == pytest.approx(-plain.skew.item(), rel=1e-6)


def test_a_constant_unit_is_undefined_not_zero():
    """A unit that never varied has nan skew and kurtosis, and zero variance."""
    found = moments(np.full((100, 1), 0.1, dtype=np.float32))
    assert torch.isnan(found.skew).all()
    assert torch.isnan(found.kurtosis).all()
    assert found.variance.item() == pytest.approx(0, abs=1e-12)


def test_large_means_do_not_cancel():
    """P9: with a mean ten thousand times the deviation, the result is that of two exact passes."""
    x = (sample("standard_exponential", 50_000) + 1e4).astype(np.float32)
    wide = x.astype(np.float64)
    found = sum((moments(part) for part in np.array_split(x, 7)[1:]), moments(np.array_split(x, 7)[0]))
    assert found.variance.item() == pytest.approx(wide.var(), rel=1e-6)
    assert found.skew.item() == pytest.approx(stats.skew(wide)[0], abs=1e-5)
    assert found.kurtosis.item() == pytest.approx(stats.kurtosis(wide, fisher=False)[0], rel=1e-5)


def placed(mean, n=262_144):
    """Values of a unit that lies ``mean`` standard deviations from zero, as a model in float32 would make them."""
    return (sample("standard_normal", n) + mean).astype(np.float32)


def heavy(n=262_144):
    """Kurtosis near 10⁴ and a mean of ten standard deviations: one value in ten thousand is far out."""
    random = np.random.default_rng(0)
    x = np.where(random.random((n, 1)) < 1e-4, random.normal(0, 1, (n, 1)) * 58 + 100, random.normal(0, 0.1, (n, 1)))
    return (x + 10 * x.std()).astype(np.float32)


@pytest.mark.parametrize("x", [placed(0), placed(100), placed(1000), heavy()], ids=["0 σ", "100 σ", "1000 σ", "heavy"])
def test_sums_in_float32_are_safe(x):
    """The cases that raw powers fail: every moment to a millionth, in one batch, in many, and added up."""
    wide = x[:, 0].astype(np.float64)
    running = Moments.accumulator(1, "cpu")
    for part in np.array_split(x, 100):
        accumulate(rows(part), [running], Scratch())
    parts = [moments(part) for part in np.array_split(x, 100)]
    for found in (moments(x), running.result(), sum(parts[1:], parts[0])):
        assert found.mean.item() == pytest.approx(wide.mean(), rel=1e-6, abs=1e-7)
        assert found.variance.item() == pytest.approx(wide.var(), rel=1e-6)
        assert found.skew.item() == pytest.approx(stats.skew(wide), rel=1e-6, abs=1e-6)
        assert found.kurtosis.item() == pytest.approx(stats.kurtosis(wide, fisher=False), rel=1e-6)


def test_a_text_that_changes_its_nature_halfway_is_safe():
    """The first tile's mean, from which all is measured, may lie several standard deviations off."""
    x = np.concatenate([placed(0, 2000), placed(30, 200_000)])
    wide, running = x[:, 0].astype(np.float64), Moments.accumulator(1, "cpu")
    for part in np.array_split(x, 100):
        accumulate(rows(part), [running], Scratch())
    assert running.result().variance.item() == pytest.approx(wide.var(), rel=1e-6)
    assert running.result().kurtosis.item() == pytest.approx(stats.kurtosis(wide, fisher=False), rel=1e-5)


@given(cut_batches())
def test_in_float64_cuts_change_nothing(case):
    """What several machines gather is what one does: to 1e-9, whether in place or added up."""
    batch, cuts = case
    batch = batch.astype(np.float64)
    running = Moments.accumulator(batch.shape[1], "cpu")
    parts = np.split(batch, cuts)
    for part in parts:
        accumulate(rows(part), [running], Scratch())
    added = [moments(part) for part in parts]
    for found in (running.result(), sum(added[1:], added[0])):
        spread = batch.std(axis=0).max() + 1e-30
        for power, name in enumerate(("m2", "m3", "m4"), start=2):
            scale = len(batch) * max(spread, 1e-3) ** power
            np.testing.assert_allclose(
                getattr(found, name), getattr(moments(batch), name), rtol=1e-9, atol=1e-9 * scale
            )
        np.testing.assert_allclose(found.mean, moments(batch).mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dtype", "step"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)], ids=["bf16", "fp16"])
@pytest.mark.parametrize("mean", [0, 3, 10])
def test_half_precision_loses_what_the_model_lost(dtype, step, mean):
    """The sums are those of the rounded values to a millionth; rounding itself adds about (m · step)² / 12 at most."""
    x = torch.from_numpy(placed(mean, 100_000))
    rounded, exact = x.to(dtype).double().numpy(), x.double().numpy()
    found = moments(x.to(dtype))
    assert found.variance.item() == pytest.approx(rounded.var(), rel=1e-6)
    assert found.kurtosis.item() == pytest.approx(stats.kurtosis(rounded, fisher=False)[0], rel=1e-6)
    assert found.variance.item() == pytest.approx(exact.var(), rel=(1 + mean) * step + ((4 + mean) * step) ** 2)


def test_half_precision_input_is_widened():
    """P10: squares that overflow float16 do not overflow the sums."""
    x = torch.full((4096, 1), 300.0, dtype=torch.float16)
    x[::2] = -300.0
    assert moments(x).variance.item() == pytest.approx(9e4)


def test_pooled_moments_are_those_of_the_flattened_array():
    """Pooling all units is the kurtosis of the flattened array."""
    x = np.random.default_rng(0).standard_normal((500, 7)) * np.arange(1, 8)
    pooled = moments(x).pooled()
    assert pooled.kurtosis.item() == pytest.approx(stats.kurtosis(x, axis=None, fisher=False), rel=1e-9)


def test_gelu_of_a_normal_is_heavy_tailed_already():
    """P28: GELU of noise has kurtosis 6.08 and skew 1.77, so a level after the activation proves nothing."""
    post = torch.nn.functional.gelu(torch.from_numpy(sample("standard_normal", 1_000_000)))
    found = moments(post)
    assert found.kurtosis.item() == pytest.approx(6.08, rel=0.03)
    assert found.skew.item() == pytest.approx(1.77, rel=0.02)
