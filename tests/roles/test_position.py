"""Neurons that go with position, against the same done by hand."""

import pytest
import torch
from scipy import stats

from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.position import LEAST, position_correlations, sums_by_position
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


def test_a_neuron_that_reads_a_ramp_of_positions_goes_with_them():
    loaded = in_memory(build("gpt2"))
    with torch.no_grad():
        transformer = loaded.model.transformer
        push = torch.randn(32, generator=torch.Generator().manual_seed(1))
        push -= push.mean()
        transformer.wpe.weight += 0.3 * torch.arange(len(transformer.wpe.weight))[:, None] * push
        transformer.h[0].mlp.c_fc.weight[:, 3], transformer.h[0].mlp.c_fc.weight[:, 4] = 0.05 * push, -0.05 * push
    found, _ = position_correlations(WeightView(loaded, dissect(loaded)), batches())
    assert bool((found[:, 3] > 0.8).all())
    assert bool((found[:, 4] < -0.8).all())


def test_a_neuron_that_never_varies_has_no_correlation():
    view = view_of("gpt2")
    with torch.no_grad():
        view.loaded.model.transformer.h[0].mlp.c_fc.weight[:, 7] = 0
    found, _ = position_correlations(WeightView(view.loaded, view.anatomy), batches())
    assert bool(found[:, 7].isnan().all())
