"""The ranks of query-key circuits."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.head_circuits import circuit_ranks, folded_query_key_norms, query_key_norms
from tests.models.tiny import prepared
from tests.roles.views import view_of


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_ranks_agree_with_the_whole_circuit(architecture):
    """Singular values of the whole matrix W_Qᵀ W_K in float64."""
    view = view_of(architecture)
    expected = []
    for query, key in (head.folded() for head in Weights(view).heads):
        values = np.linalg.svd((query.double().T @ key.double()).numpy(), compute_uv=False)
        expected.append((values**2).sum() / values[0] ** 2 / len(query))
    np.testing.assert_allclose(circuit_ranks(view).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_norms_are_those_of_the_weights_of_each_head(architecture):
    view = view_of(architecture)
    heads = Weights(view).heads
    for found, weights in (
        (query_key_norms, [head.raw() for head in heads]),
        (folded_query_key_norms, [head.folded() for head in heads]),
    ):
        expected = [[np.linalg.norm(weight.double().numpy()) for weight in pair] for pair in weights]
        np.testing.assert_allclose(found(view).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("instrument", [circuit_ranks, query_key_norms, folded_query_key_norms])
def test_a_model_without_heads_has_no_circuits(instrument):
    view = view_of("gpt2")
    bare = WeightView(view.loaded, replace(view.anatomy, heads=()))
    with pytest.raises(NotApplicable, match="no attention with separate query and key projections"):
        instrument(bare)


@pytest.mark.parametrize("instrument", [circuit_ranks, folded_query_key_norms])
def test_queries_and_keys_with_norms_of_their_own_are_not_judged_by_their_weights(instrument):
    """A norm behind them makes the size of the weights irrelevant, and its gain changes the rank."""
    view = WeightView(*prepared("causal", "qwen3"))
    with pytest.raises(NotApplicable, match="norms of their own"):
        instrument(view)
    assert query_key_norms(view).shape == (len(view.anatomy.heads), 2)  # as they are stored
