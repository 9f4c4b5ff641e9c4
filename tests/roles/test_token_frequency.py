"""The correlation of the logits that a neuron adds with the frequency of tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.roles.null_space import gram
from pytest_unineuron.roles.token_frequency import (
    frequency_correlations,
    frequency_direction,
    logit_correlations,
    random_correlations,
)
from tests.roles.views import normal, view_of, writes


def counts_of(tokens, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).geometric(0.05, tokens))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_correlations_agree_with_numpy(architecture):
    """They are those of all logits, in float64, with log frequency."""
    view = view_of(architecture)
    unembedding = view.unembedding.double().numpy()
    counts = counts_of(len(unembedding))
    logits = unembedding @ writes(view).T  # [token, neuron]
    logs = np.log(counts.numpy() + 1.0)
    expected = [np.corrcoef(of_neuron, logs)[0, 1] for of_neuron in logits.T]
    np.testing.assert_allclose(frequency_correlations(view, counts).numpy(), expected, rtol=1e-4, atol=1e-5)
    random = random_correlations(view, counts, 200, 2)
    assert random.shape == (2, 200)
    assert 0 < np.abs(random.numpy()).max() < 1
    assert not torch.equal(*random)


@given(st.integers(0, 2**32 - 1))
def test_a_reversed_neuron_has_the_opposite_correlation(seed):
    """The order of tokens does not matter, and a neuron that follows log frequency has the largest correlation."""
    unembedding, counts = normal(80, 8, seed=seed).double(), counts_of(80, seed)
    unembedding -= unembedding.mean(dim=0)
    write, of_gram = normal(4, 8, seed=seed + 1).double(), gram(unembedding)
    direction = frequency_direction(unembedding, counts)
    found = logit_correlations(write, direction, of_gram)
    torch.testing.assert_close(logit_correlations(-3 * write, direction, of_gram), -found)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(frequency_direction(unembedding[order], counts[order]), direction)
    best = torch.linalg.solve(of_gram, direction)[None]
    assert float(logit_correlations(best, direction, of_gram)) >= float(found.abs().max()) - 1e-9


def test_a_neuron_that_moves_no_logit_has_none():
    unembedding = torch.zeros(10, 3, dtype=torch.float64)
    unembedding[:, 0] = torch.linspace(-1, 1, 10)
    found = logit_correlations(torch.eye(3), frequency_direction(unembedding, counts_of(10)), gram(unembedding))
    assert found.isnan().tolist() == [False, True, True]
