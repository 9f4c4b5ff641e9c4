"""The vocabulary composition of what attention heads write."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.weights.heads import folded
from pytest_unineuron.roles.head_writes import head_kurtosis, output_directions
from tests.roles.views import normal, view_of


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_kurtosis_agrees_with_the_whole_circuit(architecture):
    """Singular vectors of the whole matrix W_O W_V in float64, and moments by scipy."""
    view = view_of(architecture)
    unembedding = view.unembedding.double().numpy()
    units = unembedding / np.linalg.norm(unembedding, axis=1, keepdims=True)
    expected = []
    for head, weights in zip(view.anatomy.heads, Weights(view).heads, strict=True):
        circuit = (weights.output.double() @ folded(view, head.value).double()).numpy()
        left, values, _ = np.linalg.svd(circuit)
        rank = weights.output.shape[1]
        left, values = left[:, :rank], values[:rank]
        if architecture != "llama":
            left = left - left.mean(axis=0)
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


def test_a_model_without_an_unembedding_has_none():
    with pytest.raises(NotApplicable, match="BertForMaskedLM has no unembedding"):
        head_kurtosis(view_of("bert"))
