"""Laws of the vocabulary composition (numbers are those of the methods' list of laws), and float64 oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles import composition as module
from pytest_unineuron.roles.composition import Composition, cosine_moments
from tests.models.tiny import shrunk
from tests.roles.views import normal, view_of

seeds = st.integers(0, 2**32 - 1)
FIELDS = ("mean", "variance", "skew", "kurtosis")


def composed(write, unembedding):
    return Composition.of(cosine_moments(write, unembedding), write.shape[1])


def oracle(write, unembedding):
    """The moments by scipy, in float64 and all at once."""
    w, u = write.double().numpy(), unembedding.double().numpy()
    cosines = (u / np.linalg.norm(u, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
    return cosines.mean(0), cosines.var(0), stats.skew(cosines), stats.kurtosis(cosines, fisher=False)


@settings(max_examples=25)
@given(seeds, st.integers(2, 40), st.integers(1, 9), st.integers(8, 400), st.sampled_from([2**6, 2**21]))
def test_moments_agree_with_scipy(seed, width, neurons, tokens, size):
    """However the vocabulary is cut into blocks."""
    write, unembedding = normal(neurons, width, seed=seed), normal(tokens, width, seed=seed + 1)
    expected = oracle(write, unembedding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_SIZE", size)
        found = composed(write, unembedding)
    for name, wanted in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-5, atol=1e-5, err_msg=name)


@given(seeds, st.floats(1e-20, 1e20))
def test_reversed_and_scaled_vectors(seed, scale):
    """P37: a reversed write vector has the opposite mean and skew; its length does not matter."""
    write, unembedding = normal(3, 16, seed=seed), normal(200, 16, seed=seed + 1)
    plain, turned = composed(write, unembedding), composed(-scale * write, unembedding)
    for name, sign in zip(FIELDS, (-1, 1, -1, 1), strict=True):
        np.testing.assert_allclose(getattr(turned, name), sign * getattr(plain, name), rtol=1e-4, atol=1e-5)


@given(seeds)
def test_the_order_of_the_vocabulary_does_not_matter(seed):
    """P38."""
    write, unembedding = normal(3, 16, seed=seed), normal(200, 16, seed=seed + 1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    plain, permuted = composed(write, unembedding), composed(write, unembedding[order])
    for name in FIELDS:
        np.testing.assert_allclose(getattr(permuted, name), getattr(plain, name), rtol=1e-4, atol=1e-5)


def test_a_random_direction_has_the_moments_of_a_sphere():
    """P36: mean 0, variance 1/d and kurtosis 3d/(d + 2)."""
    found = composed(normal(20, 64, seed=0), normal(50_000, 64, seed=1))
    np.testing.assert_allclose(found.mean, 0, atol=3e-3)
    np.testing.assert_allclose(found.variance, 1 / 64, rtol=0.03)
    np.testing.assert_allclose(found.skew, 0, atol=0.06)
    np.testing.assert_allclose(found.kurtosis, 3 * 64 / 66, rtol=0.05)
    assert not found.logit_neurons.any()


def test_planted_classes_are_told_apart():
    """P39: forty tokens with a common direction make a prediction or suppression neuron, two halves a partition."""
    unembedding, unit = normal(20_000, 256, seed=0) / 16, torch.nn.functional.normalize(normal(1, 256, seed=1), dim=1)
    few, halves = unembedding.clone(), unembedding.clone()
    few[:40] += 2 * unit
    halves += 0.5 * torch.where(torch.arange(20_000) % 2 == 0, 1.0, -1.0)[:, None] * unit
    found = composed(torch.cat([unit, -unit]), few)
    np.testing.assert_allclose(found.skew, [3.5, -3.5], rtol=0.1)
    np.testing.assert_allclose(found.kurtosis, [44, 44], rtol=0.1)
    assert (found.prediction().tolist(), found.suppression().tolist()) == ([True, False], [False, True])
    assert found.prediction(np.array([-1.0, -1.0])).tolist() == [False, True]
    partition = composed(unit, halves)
    np.testing.assert_allclose((partition.variance[0], partition.kurtosis[0]), (0.2, 1.04), rtol=0.05)
    assert partition.partition.tolist() == [True]
    assert not partition.logit_neurons.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_neuron_that_no_token_reads_has_no_shape(dtype):
    """P40: variance 0 and undefined skew and kurtosis, in the null space and for a write vector of zeros."""
    unembedding, write = normal(300, 32, seed=0).to(dtype), normal(2, 32, seed=1).to(dtype)
    null = torch.linalg.qr(normal(32, 4, seed=2).to(dtype)).Q
    unembedding, write[0], write[1] = unembedding - unembedding @ null @ null.T, null[:, 0], 0
    found = composed(write, unembedding)
    np.testing.assert_allclose(found.variance, 0, atol=1e-12)
    assert np.isnan(found.skew).all()
    assert np.isnan(found.kurtosis).all()


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3"])
def test_every_neuron_of_a_model_agrees_with_scipy(architecture):
    """For tied and untied unembeddings, layer norm and RMS norm, plain and gated neurons."""
    view = view_of(architecture)
    found = Weights(view).composition
    expected = oracle(torch.cat([layer.write for layer in view.layers]), view.unembedding)
    for name, wanted in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("model_type", "normed"), [("gemma2", True), ("llama", False), ("gpt2", False)])
def test_a_norm_of_its_own_scales_what_a_block_writes(model_type, normed):
    """In Gemma 2 the output of the neurons has a norm before it is added to the stream, in most models it has none."""
    loaded = shrunk("causal", model_type)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "norm" in name or "ln" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    view = WeightView(loaded, dissect(loaded))
    for number, (weights, write) in enumerate(zip(view.layers, view.stream_writes, strict=True)):
        gain = 1.0
        if normed:
            gain = 1 + loaded.model.get_parameter(f"model.layers.{number}.post_feedforward_layernorm.weight").detach()
        torch.testing.assert_close(write, weights.write * gain, rtol=1e-4, atol=1e-7)


def test_neurons_of_an_encoder_have_none():
    """Only those of the last stack write to the stream that the last norm reads."""
    loaded = shrunk("seq2seq", "pegasus")
    view = WeightView(loaded, dissect(loaded))
    known = [write is not None for write in view.stream_writes]
    stacks = [layer.stack for layer in view.anatomy.layout.per_token.layers]
    assert known == [stack == stacks[-1] for stack in stacks]
    assert {False, True} == set(known)


def test_it_is_computed_once_for_all_trials():
    """What an instrument found is asked for by the instrument itself."""
    asked = []

    def recall(instrument, given, compute):
        asked.append(instrument)
        return compute()

    weights = Weights(view_of("gpt2"), recall=recall)
    assert weights.composition is weights.composition
    assert asked == [module.composition]


def test_a_masked_language_model_has_none():
    with pytest.raises(NotApplicable, match="BertForMaskedLM has no unembedding"):
        _ = Weights(view_of("bert")).composition
