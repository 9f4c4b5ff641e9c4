"""Properties of a subject that each control keeps or destroys, and the seeds of controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron import controls
from pytest_unineuron.controls.exchanged_entries import exchanged_entries
from pytest_unineuron.controls.exchanged_input_weights import exchanged_input_weights
from pytest_unineuron.controls.other_seed import other_seed
from pytest_unineuron.controls.permuted_labels import permuted_labels
from pytest_unineuron.controls.planted_sink import POSITIONS, planted_sink
from pytest_unineuron.controls.random_tokens import random_tokens
from pytest_unineuron.controls.reinitialised import reinitialised
from pytest_unineuron.controls.rotation import Rotation
from pytest_unineuron.controls.shifted_documents import shifted_documents
from pytest_unineuron.controls.shuffled import shuffled
from pytest_unineuron.controls.untrained import untrained
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.discovery.matrix import projection_matrix
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import POST, PRE, RESIDUAL
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import build, tokenizer

MODELS = [name for name, row in controls.CONTROLS.items() if row.replaces == controls.MODEL]


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_every_row_describes_its_control_and_leads_to_its_code():
    """The description is not empty, and the path can be imported and called."""
    for row in controls.CONTROLS.values():
        assert row.description
        assert callable(row.load())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_a_control_model_is_a_seeded_copy(name, architecture):
    """The subject is unchanged, the same seed gives the same weights, and tied parameters stay tied."""
    model = build(architecture)
    before = weights(model)
    make = controls.CONTROLS[name].load()
    twins = [make(model, seed) for seed in (1, 1, 2)]
    first, again, other = map(weights, twins)
    for key, value in weights(model).items():
        assert torch.equal(value, before[key])
        assert torch.equal(first[key], again[key])
    changed = [key for key in before if not torch.equal(first[key], before[key])]
    assert any("h.0." in key or "layers.0." in key for key in changed)
    assert not all(torch.equal(first[key], other[key]) for key in changed)
    assert twins[0].config.tie_word_embeddings == model.config.tie_word_embeddings
    assert not twins[0].training


def test_untrained_biases_are_zero_and_norms_one():
    """Nothing of the subject's weights is left."""
    twin = weights(untrained(build("gpt2"), 0))
    assert float(twin["transformer.h.0.mlp.c_fc.bias"].abs().max()) == 0
    assert float((twin["transformer.h.0.ln_2.weight"] - 1).abs().max()) == 0


def test_reinitialised_keeps_the_mean_and_deviation_of_every_tensor():
    """They agree up to sampling error, and the skew of a tensor is lost."""
    model = build("gpt2", n_inner=4000)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias.exponential_()
    twin = weights(reinitialised(model, 0))
    for name, value in weights(model).items():
        if value.numel() > 3000:
            assert twin[name].mean().item() == pytest.approx(
                value.mean().item(), abs=5 * value.std().item() / value.numel() ** 0.5
            )
            assert twin[name].std().item() == pytest.approx(value.std().item(), rel=0.05)
    assert abs(stats.skew(twin["transformer.h.0.mlp.c_fc.bias"].numpy())) < 0.2


def test_shuffled_keeps_every_value_in_another_place():
    """The sorted values of each tensor are those of the subject."""
    model = build("gpt2")
    twin = weights(shuffled(model, 0))
    for name, value in weights(model).items():
        torch.testing.assert_close(twin[name].flatten().sort().values, value.flatten().sort().values, rtol=0, atol=0)
        if value.numel() > 20:
            assert not torch.equal(twin[name], value)


def test_a_rotated_sweep_is_standardised():
    """The rotated units of a layer have mean zero and, on average, variance one."""
    model = LoadedModel(build("gpt2"), tokenizer(), "", None)
    anatomy = dissect(model)
    blocks = to_blocks(find_corpus("news"), model.tokenizer, context=64, budget=4000)
    plain = sweep_blocks(model.model, anatomy.layout, blocks, batch=2000)
    sizes = {PRE: [48, 48], POST: [48, 48], RESIDUAL: [32]}
    moments = {site: plain.total(site, "moments") for site in sizes}
    rotated = sweep_blocks(model.model, anatomy.layout, blocks, batch=2000, transform=Rotation(moments, sizes, 5))
    for site in (PRE, POST):
        after = rotated.total(site, "moments")
        np.testing.assert_allclose(after.mean, 0, atol=1e-4)
        for layer in after.variance.split([48, 48]):
            assert float(layer.mean()) == pytest.approx(1.0, abs=1e-3)


def test_random_tokens_keep_lengths_and_special_tokens():
    """No special token is drawn, and the seed decides which tokens are."""
    blocks = to_blocks(find_corpus("news"), tokenizer(), context=64, budget=3000)
    drawn = random_tokens(blocks, tokenizer(), 1)
    assert [len(b.ids) for b in drawn.blocks] == [len(b.ids) for b in blocks.blocks]
    for old, new in zip(blocks.blocks, drawn.blocks, strict=True):
        assert new.text_mask == old.text_mask
        assert new.ids[0] == old.ids[0] == 0
        assert 0 not in new.ids[1:]
    assert random_tokens(blocks, tokenizer(), 1).blocks == drawn.blocks
    assert random_tokens(blocks, tokenizer(), 2).blocks != drawn.blocks


def test_shifted_documents_change_every_block():
    """Positions, lengths, document numbers and special tokens stay the same."""
    blocks = to_blocks(find_corpus("news"), tokenizer(), context=64, budget=3000)
    other = shifted_documents(blocks, tokenizer(), 3)
    texts = {}
    for block in blocks.blocks:
        texts.setdefault(block.document, []).extend(block.ids)
    for old, new in zip(blocks.blocks, other.blocks, strict=True):
        assert (new.document, new.text_mask, len(new.ids)) == (old.document, old.text_mask, len(old.ids))
        assert new.ids[0] == old.ids[0]
        assert new.ids != old.ids
        assert set(new.ids) <= set().union(*(texts[d] for d in texts if d != old.document))
    assert len({shifted_documents(blocks, tokenizer(), seed).digest for seed in range(19)}) == 19


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_exchanged_entries_stay_within_the_queries_and_the_keys_of_a_head(architecture):
    """Each head keeps the values of its W_Q and of its W_K in other places, and the rest of the model is as it was."""
    loaded = LoadedModel(build(architecture), tokenizer(), "", None)
    twin = replace(loaded, model=exchanged_entries(loaded.model, 5))
    anatomy = dissect(loaded)
    own, changed = (Weights(WeightView(each, anatomy)) for each in (loaded, twin))
    for head, other in zip(own.heads, changed.heads, strict=True):
        for before, after in zip(head.raw(), other.raw(), strict=True):
            assert not torch.equal(before, after)
            assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert torch.equal(head.value, other.value)
    attention = {
        name for name, value in weights(loaded.model).items() if not torch.equal(value, weights(twin.model)[name])
    }
    assert all("attn" in name or "attention" in name for name in attention)
    assert all(name.endswith("weight") for name in attention)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_exchanged_input_weights_stay_within_each_neuron(architecture):
    """Each neuron keeps the values of its input weights in other places, and the rest of the model is as it was."""
    loaded = LoadedModel(build(architecture), tokenizer(), "", None)
    twin = replace(loaded, model=exchanged_input_weights(loaded.model, 5))
    layers = dissect(loaded).layout.layers
    for layer in layers:
        for factor in layer.up:
            own, changed = (
                projection_matrix(each.model, factor.projection, layer.input_width).weight for each in (loaded, twin)
            )
            assert not torch.equal(own, changed)
            assert torch.equal(own.sort(dim=1).values, changed.sort(dim=1).values)
    before, after = weights(loaded.model), weights(twin.model)
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {f"{factor.projection.path}.weight" for layer in layers for factor in layer.up}


def test_a_model_without_heads_has_no_entries_to_exchange():
    """The reason says so."""
    with pytest.raises(NotApplicable, match="separate query and key projections"):
        exchanged_entries(build("mamba"), 0)


def test_a_planted_sink_is_at_the_first_positions_of_every_text():
    """The same four constants, of a norm 51 times that of the embedding, whatever the text; nothing else changes."""
    model = build("gpt2")
    plain, planted = (make(model, 3).get_input_embeddings() for make in (untrained, planted_sink))
    ids = torch.tensor([[5, 6, 7, 8], [9, 9, 9, 9]])
    with torch.no_grad():
        added = planted(ids) - plain(ids)
        norms = plain(ids).norm(dim=-1)
    assert torch.count_nonzero(added[:, POSITIONS:]) == 0
    torch.testing.assert_close(added[:, :POSITIONS].norm(dim=-1), 51 * norms[:, :POSITIONS])
    assert {int(torch.count_nonzero(row)) for row in added[:, :POSITIONS].flatten(0, 1)} == {4}
    unit = torch.nn.functional.normalize(added[:, :POSITIONS], dim=-1)
    torch.testing.assert_close(unit, unit[:1, :1].expand_as(unit))


def test_a_planted_sink_makes_pooled_activations_heavy_tailed():
    """Their kurtosis is about the number of values divided by the 2.7 effective constants."""
    loaded = LoadedModel(build("gpt2", n_embd=32), tokenizer(), "", None)
    anatomy = dissect(loaded)
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=16, budget=200)
    kurtosis = [
        float(
            sweep_blocks(make(loaded.model, 0), anatomy.layout, blocks, batch=200)
            .total(RESIDUAL, "moments")
            .pooled()
            .kurtosis
        )
        for make in (untrained, planted_sink)
    ]
    assert kurtosis[0] < 10 < 30 < kurtosis[1]


def test_another_seed_has_the_shapes_of_the_model():
    """It is that model itself; one of another shape cannot be read by the same numbers."""
    model, seed = build("gpt2"), build("gpt2", seed=1)
    assert other_seed(model, seed) is seed
    with pytest.raises(NotApplicable, match="other shapes"):
        other_seed(model, build("gpt2", n_inner=60))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 99))
def test_labels_are_permuted_within_layers(layers, seed):
    """Each label goes to one neuron, in the layer that it came from, and the draw is seeded."""
    layer = np.array(layers)
    order = permuted_labels(layer, seed)
    assert sorted(order) == list(range(len(layer)))
    np.testing.assert_array_equal(layer[order], layer)
    np.testing.assert_array_equal(order, permuted_labels(layer, seed))


@pytest.mark.parametrize("tied", [True, False])
def test_an_untrained_model_is_tied_if_the_model_is(tied):
    """Whatever its configuration says: a checkpoint of two matrices is loaded with both."""
    model = build("llama", tie_word_embeddings=tied)
    model.config.tie_word_embeddings = True
    made = untrained(model, 0)
    assert (made.lm_head.weight is made.model.embed_tokens.weight) == tied
    assert model.config.tie_word_embeddings
