"""Every control keeps what it keeps and destroys what it destroys, by its seed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron import controls
from pytest_unineuron.activations.sweep import sweep
from pytest_unineuron.controls.permuted_labels import permuted_labels
from pytest_unineuron.controls.random_tokens import random_tokens
from pytest_unineuron.controls.rotation import Rotation, haar_rotation
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.statistics import POST, PRE
from tests.models.tiny import build, tokenizer

MODELS = [name for name, row in controls.CONTROLS.items() if row.replaces == controls.MODEL]


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_a_control_model_is_a_seeded_copy(name, architecture):
    """The subject is untouched, the same seed gives the same twin, ties stay tied."""
    model = build(architecture)
    before = weights(model)
    make = controls.CONTROLS[name].load()
    first, again, other = make(model, 1), make(model, 1), make(model, 2)
    for key, value in weights(model).items():
        assert torch.equal(value, before[key])
        assert torch.equal(dict(first.named_parameters())[key], dict(again.named_parameters())[key])
    key = next(k for k in before if "c_fc.weight" in k or "dense_h_to_4h.weight" in k)
    assert not torch.equal(dict(first.named_parameters())[key], dict(other.named_parameters())[key])
    assert not torch.equal(dict(first.named_parameters())[key], before[key])
    assert first.config.tie_word_embeddings == model.config.tie_word_embeddings
    assert not first.training


def test_untrained_forgets_everything():
    """Biases are zero again and norms one."""
    twin = weights(controls.CONTROLS["untrained"].load()(build("gpt2"), 0))
    assert float(twin["transformer.h.0.mlp.c_fc.bias"].abs().max()) == 0
    assert float((twin["transformer.h.0.ln_2.weight"] - 1).abs().max()) == 0


def test_reinitialised_keeps_mean_and_deviation():
    """Of every tensor, within sampling error; not its shape."""
    model = build("gpt2", n_inner=4000)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias.exponential_()
    twin = weights(controls.CONTROLS["reinitialised"].load()(model, 0))
    for name, value in weights(model).items():
        if value.numel() > 3000:
            assert twin[name].mean().item() == pytest.approx(
                value.mean().item(), abs=5 * value.std().item() / value.numel() ** 0.5
            )
            assert twin[name].std().item() == pytest.approx(value.std().item(), rel=0.05)
    assert abs(stats.skew(twin["transformer.h.0.mlp.c_fc.bias"].numpy())) < 0.2


def test_shuffled_keeps_every_value():
    """Each tensor's values, in another order."""
    model = build("gpt2")
    twin = weights(controls.CONTROLS["shuffled"].load()(model, 0))
    for name, value in weights(model).items():
        torch.testing.assert_close(twin[name].flatten().sort().values, value.flatten().sort().values, rtol=0, atol=0)
        if value.numel() > 20:
            assert not torch.equal(twin[name], value)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_a_rotation_is_orthogonal_and_seeded(size):
    """P12: RRᵀ = I."""
    rotation = haar_rotation(size, 0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(size), rtol=0, atol=1e-5)
    assert torch.equal(rotation, haar_rotation(size, 0))
    assert size == 1 or not torch.equal(rotation, haar_rotation(size, 1))


def test_rotations_are_uniform():
    """Entries of Haar rotations have mean zero, also on the diagonal, where plain QR has not."""
    diagonal = np.array([haar_rotation(4, seed).diagonal().numpy() for seed in range(800)])
    assert np.abs(diagonal.mean(axis=0)).max() < 0.08


def test_a_rotated_sweep_is_standardised_and_mixes_units():
    """Rotated units have mean zero and variance one together, and a rotation of the layer's own correlations."""
    model = LoadedModel(build("gpt2"), tokenizer(), "", None)
    anatomy = dissect(model)
    blocks = to_blocks(find_corpus("news"), model.tokenizer, context=64, budget=4000)
    plain = sweep(model.model, anatomy.layout, blocks, batch=2000)
    sizes = {PRE: [48, 48], POST: [48, 48], "residual": [32]}
    moments = {site: plain.total(site, "moments") for site in sizes}
    turned = sweep(model.model, anatomy.layout, blocks, batch=2000, change=Rotation(moments, sizes, 5))
    for site in (PRE, POST):
        after = turned.total(site, "moments")
        np.testing.assert_allclose(after.mean, 0, atol=1e-4)
        for layer in after.variance.split([48, 48]):
            assert float(layer.mean()) == pytest.approx(1.0, abs=1e-3)


def test_random_tokens_keep_the_lengths_and_nothing_else():
    """Special tokens stay, no special token is drawn, and the seed decides."""
    blocks = to_blocks(find_corpus("news"), tokenizer(), context=64, budget=3000)
    drawn = random_tokens(blocks, tokenizer(), 1)
    assert [len(b.ids) for b in drawn.blocks] == [len(b.ids) for b in blocks.blocks]
    for old, new in zip(blocks.blocks, drawn.blocks, strict=True):
        assert new.text_mask == old.text_mask
        assert new.ids[0] == old.ids[0] == 0
        assert 0 not in new.ids[1:]
    assert random_tokens(blocks, tokenizer(), 1).blocks == drawn.blocks
    assert random_tokens(blocks, tokenizer(), 2).blocks != drawn.blocks


def test_every_row_says_what_it_keeps():
    """And leads to something."""
    for row in controls.CONTROLS.values():
        assert row.description
        assert callable(row.load())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 99))
def test_labels_are_permuted_within_layers(layers, seed):
    """Every neuron gets the label of one of its layer, each label goes once, and the draw is seeded."""
    layer = np.array(layers)
    order = permuted_labels(layer, seed)
    assert sorted(order) == list(range(len(layer)))
    np.testing.assert_array_equal(layer[order], layer)
    np.testing.assert_array_equal(order, permuted_labels(layer, seed))
