"""Neurons that go with position, against the same done by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.position import (
    LEAST,
    information,
    position_correlations,
    position_information,
    sums_by_position,
)
from tests.models.tiny import build, in_memory
from tests.roles.views import batches, view_of


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_it_agrees_with_scipy(architecture):
    """Means over the text tokens of each half, by hand, and scipy's correlation of them with the position."""
    view, read = view_of(architecture), batches()
    seen, layer = [], view.anatomy.layout.layers[1]
    hook = view.loaded.model.get_submodule(layer.down.module).register_forward_pre_hook(
        lambda module, args: seen.append(args[0][..., 5].double())
    )
    width = max(batch.ids.shape[1] for batch in read)
    sums, tokens = torch.zeros(2, 2, width, dtype=torch.float64).unbind()
    for batch in read:
        with torch.no_grad():
            view.loaded.model(batch.ids, attention_mask=batch.attention_mask)
        length, mask = batch.ids.shape[1], batch.text_mask
        sums[batch.group % 2, :length] += (seen[-1] * mask).sum(dim=0)
        tokens[batch.group % 2, :length] += mask.sum(dim=0)
    hook.remove()
    found, counted = sums_by_position(view, read)
    torch.testing.assert_close(counted, tokens)
    torch.testing.assert_close(found[:, 48 + 5], sums, rtol=1e-5, atol=1e-7)
    places = (tokens > 0).all(dim=0)
    correlations, positions = position_correlations(view, read)
    assert positions == int((tokens >= LEAST).all(dim=0).sum())
    for half in (0, 1):
        expected = stats.spearmanr((sums / tokens)[half, places], torch.arange(width)[places]).statistic
        assert float(correlations[half, 48 + 5]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_information_is_that_of_the_pre_activation(architecture):
    """The neurons that are on at each position are counted by hand, over the text tokens of both halves together."""
    view, read = view_of(architecture), batches()
    layer = view.anatomy.layout.layers[1]
    seen = []
    hook = view.loaded.model.get_submodule(layer.up[0].projection.module).register_forward_hook(
        lambda m, args, out: seen.append(out[..., 5])
    )
    width = max(batch.ids.shape[1] for batch in read)
    on, tokens = np.zeros(width), np.zeros(width)
    for batch in read:
        with torch.no_grad():
            view.loaded.model(batch.ids, attention_mask=batch.attention_mask)
        length, mask = batch.ids.shape[1], batch.text_mask.numpy()
        on[:length] += ((seen[-1].numpy() > 0) & mask).sum(axis=0)
        tokens[:length] += mask.sum(axis=0)
    hook.remove()
    share = (on / np.maximum(tokens, 1))[tokens >= LEAST]
    together = np.array([share, 1 - share]) / len(share)  # [on or off, position]
    alone = together.sum(axis=1, keepdims=True) / len(share)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.nansum(together * np.log(together / alone))
    assert 0 < float(position_information(view, read)[48 + 5]) == pytest.approx(expected, rel=1e-6)


@given(arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=st.integers(0, 60)))
def test_information_lies_between_nothing_and_the_entropy_of_being_on(counts):
    """P50; it is nothing if a neuron is on as often everywhere, all of its entropy if positions decide."""
    shares = counts / 60
    mean = shares.mean(axis=1)
    entropy = stats.entropy([mean, 1 - mean])
    found = information(torch.from_numpy(shares)).numpy()
    assert (found >= 0).all()
    assert (found <= entropy + 1e-12).all()
    assert (entropy <= np.log(2) + 1e-12).all()
    same = torch.from_numpy(np.repeat(mean[:, None], 7, axis=1))
    np.testing.assert_allclose(information(same).numpy(), 0, atol=1e-12)
    decided = (shares > 0.5).astype(float)
    share = decided.mean(axis=1)
    np.testing.assert_allclose(information(torch.from_numpy(decided)), stats.entropy([share, 1 - share]), atol=1e-12)


def test_chance_adds_the_information_that_few_tokens_leave_open():
    """P50: (positions − 1) / (2 × tokens), of units that are on independently of position."""
    rng = np.random.default_rng(0)
    positions, each = 32, 50
    shares = rng.binomial(each, 0.3, size=(4000, positions)) / each
    bias = float(information(torch.from_numpy(shares)).mean())
    assert bias == pytest.approx((positions - 1) / (2 * positions * each), rel=0.05)


def test_a_neuron_that_reads_a_ramp_of_positions_goes_with_them():
    loaded = in_memory(build("gpt2"))
    with torch.no_grad():
        transformer = loaded.model.transformer
        push = torch.randn(32, generator=torch.Generator().manual_seed(1))
        push -= push.mean()
        transformer.wpe.weight += 0.3 * torch.arange(len(transformer.wpe.weight))[:, None] * push
        transformer.h[0].mlp.c_fc.weight[:, 3], transformer.h[0].mlp.c_fc.weight[:, 4] = 0.05 * push, -0.05 * push
    view = WeightView(loaded, dissect(loaded))
    found, _ = position_correlations(view, batches())
    assert bool((found[:, 3] > 0.8).all())
    assert bool((found[:, 4] < -0.8).all())
    told = position_information(view, batches())[:48]
    assert float(told[3]) == 0  # it is always on
    assert float(told[4]) > 2 * float(told.median())


def test_a_neuron_that_never_varies_has_no_correlation():
    view = view_of("gpt2")
    with torch.no_grad():
        view.loaded.model.transformer.h[0].mlp.c_fc.weight[:, 7] = 0
    found, _ = position_correlations(WeightView(view.loaded, view.anatomy), batches())
    assert bool(found[:, 7].isnan().all())
