"""The null space of the unembedding, and the share of write vectors that lies in it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.roles.null_space import fractions, gram, null_space, null_space_fractions, random_shares
from tests.roles.views import normal, view_of, writes


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_fractions_agree_with_singular_vectors(architecture):
    """Those of numpy in float64; behind a layer norm, the constant direction is none of them (P41)."""
    view = view_of(architecture)
    unembedding = view.unembedding.double().numpy()
    _, values, rows = np.linalg.svd(unembedding, full_matrices=True)
    order = np.argsort(values)  # ascending
    rows = rows[order]
    if architecture != "llama":
        assert values[order[0]] < 1e-4 * values.max()
        rows = rows[1:]
    null = rows[: round(0.05 * 32)].T
    write = writes(view)
    expected = np.linalg.norm(write @ null, axis=1) / np.linalg.norm(write, axis=1)
    np.testing.assert_allclose(null_space_fractions(view).numpy(), expected, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(1e-10, 1e10))
def test_a_fraction_depends_on_the_direction_alone(seed, scale):
    """It lies between 0 and 1, is 1 in the null space, and adds up in squares over an orthonormal basis."""
    unembedding, write = normal(100, 20, seed=seed), normal(5, 20, seed=seed + 1)
    null = null_space(gram(unembedding), centred=False)
    assert null.shape == (20, 1)
    found = fractions(write, null)
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(fractions(-scale * write.double(), null), found)
    torch.testing.assert_close(fractions(null.T, null), torch.ones(1, dtype=torch.float64))
    basis = torch.linalg.qr(normal(20, 20, seed=seed + 2).double()).Q
    torch.testing.assert_close(fractions(basis, null).square().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_planted_directions_are_found():
    """Whatever no token reads is in the null space."""
    hidden = torch.linalg.qr(normal(64, 3, seed=0).double()).Q
    unembedding = normal(500, 64, seed=1).double()
    unembedding -= unembedding @ hidden @ hidden.T
    found = null_space(gram(unembedding), centred=False)  # 5 % of 64 are 3
    torch.testing.assert_close(fractions(hidden.T, found), torch.ones(3, dtype=torch.float64))


def test_a_neuron_that_writes_nothing_has_none():
    assert bool(fractions(torch.zeros(1, 4), torch.eye(4, dtype=torch.float64)[:, :1]).isnan().all())


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_shares_of_random_directions_are_those_of_random_vectors(architecture):
    """As random write vectors in the same null space have them, whether the last norm centres or not."""
    view = view_of(architecture)
    drawn = random_shares(view, 2000, 2)
    vectors = normal(4000, 32, seed=3)
    if view.final_norm_centres:
        vectors -= vectors.mean(dim=1, keepdim=True)
    real = fractions(vectors, null_space(gram(view.unembedding), view.final_norm_centres)).square().numpy()
    assert drawn.shape == (2, 2000)
    assert stats.ks_2samp(drawn.ravel(), real).pvalue > 0.01
