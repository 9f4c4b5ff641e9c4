"""The vocabulary composition of what attention heads write."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.weights.heads import folded, folded_output, output_weight
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.head_composition import head_composition
from pytest_unineuron.roles.head_writes import copying, head_kurtosis, output_directions
from tests.models.tiny import prepared
from tests.roles.views import normal, view_of


def circuit_of(view, head, weights):
    """W_O W_V, of which a layer norm behind it leaves what is not the same in all features."""
    circuit = (weights.output.double() @ folded(view, head.value).double()).numpy()
    return circuit - circuit.mean(axis=0) * view.final_norm_centres


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_kurtosis_agrees_with_the_whole_circuit(architecture):
    """Singular vectors of the whole matrix W_O W_V in float64, and moments by scipy."""
    view = view_of(architecture)
    unembedding = view.unembedding.double().numpy()
    units = unembedding / np.linalg.norm(unembedding, axis=1, keepdims=True)
    expected = []
    for head, weights in zip(view.anatomy.heads, Weights(view).heads, strict=True):
        left, values, _ = np.linalg.svd(circuit_of(view, head, weights))
        rank = weights.output.shape[1]
        left, values = left[:, :rank], values[:rank]
        kurtosis = stats.kurtosis(units @ (left / np.linalg.norm(left, axis=0)), fisher=False)
        expected.append(np.average(kurtosis, weights=values**2))
    kurtosis, rank = head_kurtosis(view).numpy()
    np.testing.assert_allclose(kurtosis, expected, rtol=1e-4)
    assert ((rank > 0) & (rank < 1)).all()


@given(st.integers(0, 2**32 - 1))
def test_the_basis_of_the_values_does_not_matter(seed):
    """P43: W_O and W_V can be multiplied by any invertible matrix and its inverse."""
    output, value = normal(12, 3, seed=seed).double(), normal(3, 12, seed=seed + 1).double()
    change = normal(3, 3, seed=seed + 2).double() + 4 * torch.eye(3)
    (one, sizes), (other, same) = (
        output_directions(output, value),
        output_directions(output @ change, torch.linalg.inv(change) @ value),
    )
    torch.testing.assert_close(same, sizes)
    torch.testing.assert_close((other * one).sum(dim=1).abs(), torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_copying_agrees_with_the_whole_circuit(architecture):
    """The trace of W_O W_V over its Frobenius norm, in float64; its size is at most the square root of its rank."""
    view = view_of(architecture)
    expected = []
    for head, weights in zip(view.anatomy.heads, Weights(view).heads, strict=True):
        circuit = circuit_of(view, head, weights)
        expected.append(np.trace(circuit) / np.linalg.norm(circuit))
    found = copying(view).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert (np.abs(found) <= 8**0.5).all()


def test_a_head_of_one_direction_copies_as_far_as_it_writes_what_it_reads():
    """P45: the cosine of both directions; a head that writes nothing copies nothing."""
    view = view_of("gpt2")
    reads, writes = normal(32, seed=1), normal(32, seed=2)
    writes -= writes.mean()
    reads -= reads.mean()  # behind a layer norm, the constant direction is not read
    with torch.no_grad():
        for size, block in enumerate(view.loaded.model.transformer.h):
            block.ln_1.weight[:] = 1
            block.attn.c_attn.weight[:, 64:] = 0
            block.attn.c_attn.weight[:, 64 + 5] = reads  # the first of the four heads, of dimension 8
            block.attn.c_proj.weight[5] = size * writes
    found = copying(WeightView(view.loaded, view.anatomy))
    assert found[:4].tolist() == [0.0] * 4
    assert float(found[4]) == pytest.approx(float(torch.cosine_similarity(reads, writes, dim=0)), rel=1e-5)
    assert found[5:].tolist() == [0.0] * 3


def test_a_constant_that_no_norm_reads_changes_nothing():
    """P33: what heads write to all features alike is gone behind a layer norm."""
    view = view_of("gpt2")
    before = copying(view), head_kurtosis(view), *head_composition(view).values()
    with torch.no_grad():
        for block in view.loaded.model.transformer.h:
            block.attn.c_proj.weight += normal(32, 1, seed=3)
    view = WeightView(view.loaded, view.anatomy)
    after = copying(view), head_kurtosis(view), *head_composition(view).values()
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("architecture", ["gemma2", "llama", "gpt2"])
def test_what_heads_write_passes_the_norm_behind_attention(architecture):
    """Where there is one, its gain is a factor of every feature of the stream."""
    view = view_of(architecture)
    for head in view.anatomy.heads:
        written = output_weight(view, head)
        if architecture == "gemma2":
            assert head.out_norm == f"model.layers.{head.layer}.post_attention_layernorm"
            norm = view.loaded.model.get_submodule(head.out_norm)
            written = (1 + norm.weight[:, None]) * written
        else:
            assert not head.out_norm
        expected = written - written.mean(dim=0) * view.final_norm_centres
        torch.testing.assert_close(folded_output(view, head), expected)


def test_a_head_that_reads_more_than_the_stream_copies_nothing_that_can_be_told():
    """As in Zamba2, where it reads the embedding beside it."""
    view = WeightView(*prepared("causal", "zamba2"))
    assert copying(view).isnan().all()
    assert head_kurtosis(view).isfinite().all()


def test_a_model_without_an_unembedding_has_none():
    with pytest.raises(NotApplicable, match="BertForMaskedLM has no unembedding"):
        head_kurtosis(view_of("bert"))
