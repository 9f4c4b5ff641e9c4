"""The ranks of query-key circuits."""

import numpy as np
import pytest

from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.roles.head_circuits import circuit_ranks
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
