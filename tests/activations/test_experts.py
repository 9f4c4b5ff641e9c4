"""Activations of experts, shared layers and encoders with decoders are assigned to the right tokens."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.activations.histograms import unit_histograms
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.neurons import Neurons
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.statistics import EXTREMES, POST, PRE, UP, statistics_for
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import prepared

IDS = torch.randint(5, 190, (3, 12), generator=torch.Generator().manual_seed(3))


def capture(loaded, anatomy, ids=IDS):
    """The captured activations and their tokens, by site and layer."""
    got = {}

    def receive(site, index, values, tokens):
        got[site, index] = (values.clone(), None if tokens is None else tokens.clone())

    with capture_activations(loaded.model, anatomy.layout, receive) as open_capture:
        open_capture.forward(ids, torch.ones_like(ids))
    return got


def compute_experts(model, layer, ids=IDS):
    """The tokens, gates, other factors and products of every expert of a Mixtral layer, computed from the weights."""
    block = model.model.layers[layer].mlp
    inputs = {}
    handle = block.register_forward_pre_hook(lambda m, a: inputs.update(x=a[0]))
    with torch.no_grad(), eager_experts(model):
        model(ids)
    handle.remove()
    x = inputs["x"].reshape(-1, inputs["x"].shape[-1])  # [token, width]
    chosen = functional.linear(x, block.gate.weight).topk(2, dim=1).indices  # [token, 2]
    found = {}
    for expert in range(len(block.experts.down_proj)):
        tokens = (chosen == expert).any(dim=1).nonzero().flatten()
        gate, up = functional.linear(x[tokens], block.experts.gate_up_proj[expert]).chunk(2, dim=1)
        found[expert] = tokens, gate.detach(), up.detach(), (functional.silu(gate) * up).detach()
    return found


def test_experts_are_captured_at_the_tokens_routed_to_them():
    """Tokens, gate, other factor and product are those that follow from the router and the weights."""
    loaded, anatomy = prepared("causal", "mixtral")
    got = capture(loaded, anatomy)
    for layer in (0, 1):
        truth = compute_experts(loaded.model, layer)
        for index, neurons in enumerate(anatomy.layout.layers):
            if neurons.number != layer:
                continue
            tokens, *values = truth[neurons.expert]
            for where, value in zip((PRE, UP, POST), values, strict=True):
                units, unit_tokens = got[where, index]
                order = unit_tokens.argsort()
                assert unit_tokens[order].tolist() == tokens.tolist()
                torch.testing.assert_close(units[order], value)


@pytest.mark.parametrize(
    ("mapping", "model_type"),
    [
        *(
            ("causal", name)
            for name in (
                "qwen3_moe",
                "gpt_oss",
                "jetmoe",
                "dbrx",
                "llama4_text",
                "longcat_flash",
                "aria_text",
                "granitemoe",
                "xlnet",
            )
        ),
        *(("masked", name) for name in ("funnel", "longformer", "squeezebert")),
        *(("seq2seq", name) for name in ("switch_transformers", "fsmt")),
    ],
)
def test_activations_do_not_depend_on_other_rows_of_the_batch(mapping, model_type):
    """This holds for models that reorder their tokens."""
    loaded, anatomy = prepared(mapping, model_type)
    layout = anatomy.layout.per_token
    in_batch = capture(loaded, anatomy)
    alone = [capture(loaded, anatomy, row[None]) for row in IDS]
    for index, layer in enumerate(anatomy.layout.layers):
        if layer not in layout.layers:
            continue
        dense = torch.zeros(IDS.numel(), layer.width)
        apart = torch.zeros(IDS.numel(), layer.width)
        units, tokens = in_batch.get((POST, index), (dense[:0], torch.zeros(0, dtype=torch.int64)))
        dense[slice(None) if tokens is None else tokens] = units
        for row, of in enumerate(alone):
            if (POST, index) in of:
                units, tokens = of[POST, index]
                where = torch.arange(IDS.shape[1]) if tokens is None else tokens
                apart[where + row * IDS.shape[1]] = units
        torch.testing.assert_close(dense, apart, rtol=1e-3, atol=1e-3)


def test_statistics_are_over_routed_tokens():
    """Moments and shares of routed tokens are those of the captured activations in float64."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=32, budget=1200)
    kept = {}

    def spy(site, index, units):
        kept.setdefault((site, index), []).append(units.clone())
        return units

    sweep_result = sweep_blocks(loaded.model, anatomy.layout, blocks, batch=200, transform=spy)
    neurons = Neurons(lambda site: sweep_result, np.zeros(anatomy.layout.n_neurons, dtype=int))
    values = [torch.cat(kept[PRE, i]).double().numpy() for i in range(len(anatomy.layout.layers))]
    np.testing.assert_allclose(neurons.pre.mean, np.concatenate([v.mean(axis=0) for v in values]), atol=1e-6)
    kurtosis = np.concatenate([stats.kurtosis(v, axis=0, fisher=False) for v in values])
    np.testing.assert_allclose(neurons.kurtosis, kurtosis, rtol=1e-4)
    routed = np.concatenate([np.full(v.shape[1], len(v) / neurons.tokens) for v in values])
    np.testing.assert_allclose(neurons.routed, routed)
    # Two of four experts per token, in each of two layers.
    per_layer = neurons.routed[:: anatomy.layout.layers[0].width].reshape(2, 4).sum(axis=1)
    np.testing.assert_allclose(per_layer, 2.0)


def test_an_expert_that_no_token_reaches_is_undefined():
    """Its statistics are nan, and those of the other experts are finite."""
    loaded, anatomy = prepared("causal", "mixtral")
    with torch.no_grad():
        for layer in loaded.model.model.layers:
            layer.mlp.gate.weight[0] = -layer.mlp.gate.weight[1]
            layer.mlp.gate.weight[2] = layer.mlp.gate.weight[1] * 2
            layer.mlp.gate.weight[3] = 0
            layer.mlp.gate.top_k = 1  # the first or the third expert, by the sign of one product
    found = [
        sweep_blocks(
            loaded.model,
            anatomy.layout,
            to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=600),
            batch=64,
        )
    ]
    neurons = Neurons(lambda site: found[0], np.zeros(anatomy.layout.n_neurons, dtype=int))
    never = neurons.routed == 0
    assert never.any()
    assert np.isnan(neurons.kurtosis[never]).all()
    assert np.isfinite(neurons.kurtosis[neurons.routed > 0.2]).all()


def test_extremes_of_experts_name_tokens_of_the_text():
    """The numbers are positions in the text, not rows of the input of the expert."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=300)
    sweep_result = sweep_blocks(loaded.model, anatomy.layout, blocks, batch=64, statistics=statistics_for([EXTREMES]))
    truth = {}
    for batch in blocks.batches(64):
        got = capture(loaded, anatomy, batch.ids)
        counts = batch.text_mask.flatten()
        numbers = batch.offset + counts.cumsum(0) - 1
        for (where, index), (units, tokens) in got.items():
            if where == POST:
                keep = counts[tokens]
                truth.setdefault(index, []).append((units[keep], numbers[tokens][keep]))
    extremes = sweep_result.total(POST, "extremes")
    start = 0
    for index, layer in enumerate(anatomy.layout.layers):
        units = torch.cat([u for u, _ in truth[index]])
        numbers = torch.cat([n for _, n in truth[index]])
        found = extremes.tokens[0, start : start + layer.width]
        at = (numbers[:, None] == found).to(torch.uint8).argmax(dim=0)  # several tokens may have the largest value
        assert torch.equal(numbers[at], found)
        # Documents that begin alike have the same values up to the last bits, which depend on the batch.
        torch.testing.assert_close(units.gather(0, at[None])[0], units.amax(dim=0), rtol=1e-6, atol=0)
        start += layer.width


def test_a_layer_that_is_called_twice_is_two_layers_of_neurons():
    """ALBERT uses the weights of one layer twice, with different activations."""
    loaded, anatomy = prepared("masked", "albert")
    assert [(layer.call, layer.down.module) for layer in anatomy.layout.layers] == [
        (0, anatomy.layout.layers[0].down.module),
        (1, anatomy.layout.layers[0].down.module),
    ]
    got = capture(loaded, anatomy)
    assert not torch.equal(got[POST, 0][0], got[POST, 1][0])


def test_decoder_layers_are_numbered_after_encoder_layers():
    """Layers of both stacks have activations at every token."""
    loaded, anatomy = prepared("seq2seq", "t5gemma")
    assert anatomy.layout.layer_numbers == [0, 1, 2, 3]
    got = capture(loaded, anatomy)
    assert {got[POST, i][0].shape for i in range(4)} == {(36, 96)}


def test_adapters_are_part_of_the_pre_activation():
    """In Zamba2, the activation function reads the sum of two projections."""
    loaded, anatomy = prepared("causal", "zamba2")
    got = capture(loaded, anatomy)
    gate, up, post = (got[where, 0][0] for where in (PRE, UP, POST))
    torch.testing.assert_close(functional.gelu(gate) * up, post, rtol=1e-4, atol=1e-5)


def test_models_without_a_gate_have_no_other_factor():
    """Statistics of the other factor are not applicable."""
    loaded, anatomy = prepared("causal", "gpt2")
    sweep_result = sweep_blocks(
        loaded.model, anatomy.layout, to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=600), batch=64
    )
    with pytest.raises(NotApplicable, match="the model shows no up activations"):
        _ = Neurons(lambda site: sweep_result, np.zeros(256, dtype=int)).up.mean


def test_the_histogram_of_an_expert_that_no_token_reached_has_no_edges():
    """With a router of zeros all tokens go to the same two experts."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("prose"), loaded.tokenizer, context=32, budget=600)
    router = loaded.model.model.layers[0].mlp.gate.weight
    kept = router.detach().clone()
    starts = np.cumsum([0, *[layer.width for layer in anatomy.layout.layers]])
    last = max(index for index, layer in enumerate(anatomy.layout.layers) if layer.number == 0)
    try:
        router.data.zero_()
        edges, counts = unit_histograms(loaded.model, anatomy.layout, blocks.batches(256), [0, int(starts[last])])
    finally:
        router.data.copy_(kept)
    reached = counts.any(dim=1)
    assert counts.sum() == blocks.tokens
    assert edges.isnan().all(dim=1).tolist() == (~reached).tolist()
    assert reached.sum() == 1
