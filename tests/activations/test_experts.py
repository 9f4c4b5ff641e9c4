"""Experts, shared layers, encoders with decoders: every activation belongs to the token it should."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.neurons import Neurons
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.statistics import EXTREMES, POST, PRE, UP, statistics_for
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import prepared

IDS = torch.randint(5, 190, (3, 12), generator=torch.Generator().manual_seed(3))


def observed(loaded, anatomy, ids=IDS):
    """What is handed over: activations and tokens, by site and layer."""
    got = {}

    def receive(site, index, values, tokens):
        got[site, index] = (values.clone(), None if tokens is None else tokens.clone())

    with capture_activations(loaded.model, anatomy.layout, receive) as capture:
        capture.forward(ids, torch.ones_like(ids))
    return got


def by_hand(model, layer, ids=IDS):
    """What every expert of a Mixtral layer does at the tokens its router sends there, from the weights."""
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


def test_an_expert_is_seen_at_the_tokens_routed_to_it():
    """Against the router and the weights: which tokens, the gate, the other factor and the product."""
    loaded, anatomy = prepared("causal", "mixtral")
    got = observed(loaded, anatomy)
    for layer in (0, 1):
        truth = by_hand(loaded.model, layer)
        for index, neurons in enumerate(anatomy.layout.layers):
            if neurons.number != layer:
                continue
            tokens, *values = truth[neurons.expert]
            for where, value in zip((PRE, UP, POST), values, strict=True):
                units, seen_at = got[where, index]
                order = seen_at.argsort()
                assert seen_at[order].tolist() == tokens.tolist()
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
def test_a_text_read_with_others_shows_what_it_shows_alone(mapping, model_type):
    """Row by row: whatever the order in which a model keeps its tokens."""
    loaded, anatomy = prepared(mapping, model_type)
    layout = anatomy.layout.per_token
    together = observed(loaded, anatomy)
    alone = [observed(loaded, anatomy, row[None]) for row in IDS]
    for index, layer in enumerate(anatomy.layout.layers):
        if layer not in layout.layers:
            continue
        dense = torch.zeros(IDS.numel(), layer.width)
        apart = torch.zeros(IDS.numel(), layer.width)
        units, tokens = together.get((POST, index), (dense[:0], torch.zeros(0, dtype=torch.int64)))
        dense[slice(None) if tokens is None else tokens] = units
        for row, of in enumerate(alone):
            if (POST, index) in of:
                units, tokens = of[POST, index]
                where = torch.arange(IDS.shape[1]) if tokens is None else tokens
                apart[where + row * IDS.shape[1]] = units
        torch.testing.assert_close(dense, apart, rtol=1e-3, atol=1e-3)


def test_statistics_are_over_routed_tokens():
    """Moments and shares of every expert's neurons, against numpy on what was captured; experts without a token."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=32, budget=1200)
    kept = {}

    def spy(site, index, units):
        kept.setdefault((site, index), []).append(units.clone())
        return units

    swept = sweep_blocks(loaded.model, anatomy.layout, blocks, batch=200, transform=spy)
    neurons = Neurons(lambda site: swept, np.zeros(anatomy.layout.n_neurons, dtype=int))
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
    """Not zero, and nobody else's statistics change."""
    loaded, anatomy = prepared("causal", "mixtral")
    with torch.no_grad():
        for layer in loaded.model.model.layers:
            layer.mlp.gate.weight[0] = -layer.mlp.gate.weight[1]
            layer.mlp.gate.weight[2] = layer.mlp.gate.weight[1] * 2
            layer.mlp.gate.weight[3] = 0
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
    assert np.isnan(neurons.kurtosis[never]).all()
    assert np.isfinite(neurons.kurtosis[neurons.routed > 0.2]).all()


def test_the_strongest_tokens_of_an_expert_are_its_own():
    """Their numbers are those of the text, not of the rows the expert saw."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=300)
    swept = sweep_blocks(loaded.model, anatomy.layout, blocks, batch=64, statistics=statistics_for([EXTREMES]))
    truth = {}
    for batch in blocks.batches(64):
        got = observed(loaded, anatomy, batch.ids)
        counts = batch.text_mask.flatten()
        numbers = batch.offset + counts.cumsum(0) - 1
        for (where, index), (units, tokens) in got.items():
            if where == POST:
                keep = counts[tokens]
                truth.setdefault(index, []).append((units[keep], numbers[tokens][keep]))
    extremes = swept.total(POST, "extremes")
    start = 0
    for index, layer in enumerate(anatomy.layout.layers):
        units = torch.cat([u for u, _ in truth[index]])
        numbers = torch.cat([n for _, n in truth[index]])
        found = extremes.tokens[0, start : start + layer.width]
        at = (numbers[:, None] == found).to(torch.uint8).argmax(dim=0)  # several may be strongest
        assert torch.equal(numbers[at], found)
        assert torch.equal(units.gather(0, at[None])[0], units.amax(dim=0))
        start += layer.width


def test_a_layer_that_is_called_twice_is_two():
    """ALBERT has one layer of weights and two of neurons; they do different things."""
    loaded, anatomy = prepared("masked", "albert")
    assert [(layer.call, layer.down.module) for layer in anatomy.layout.layers] == [
        (0, anatomy.layout.layers[0].down.module),
        (1, anatomy.layout.layers[0].down.module),
    ]
    got = observed(loaded, anatomy)
    assert not torch.equal(got[POST, 0][0], got[POST, 1][0])


def test_encoder_and_decoder_count_on():
    """The decoder's first layer follows the encoder's last; both see every token."""
    loaded, anatomy = prepared("seq2seq", "t5gemma")
    assert anatomy.layout.layer_numbers == [0, 1, 2, 3]
    got = observed(loaded, anatomy)
    assert {got[POST, i][0].shape for i in range(4)} == {(36, 96)}


def test_adapters_are_part_of_the_pre_activation():
    """In Zamba2 what the activation reads is a sum of two projections."""
    loaded, anatomy = prepared("causal", "zamba2")
    got = observed(loaded, anatomy)
    gate, up, post = (got[where, 0][0] for where in (PRE, UP, POST))
    torch.testing.assert_close(functional.gelu(gate) * up, post, rtol=1e-4, atol=1e-5)


def test_models_without_a_gate_have_no_other_factor():
    """It does not apply, and says so."""
    loaded, anatomy = prepared("causal", "gpt2")
    swept = sweep_blocks(
        loaded.model, anatomy.layout, to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=600), batch=64
    )
    with pytest.raises(NotApplicable, match="the model shows no up activations"):
        _ = Neurons(lambda site: swept, np.zeros(256, dtype=int)).up.mean
