"""Laws of the head statistics."""

import numpy as np
import pytest
import torch

from pytest_unineuron.statistics.heads import circuit_rank

GENERATOR = torch.Generator().manual_seed(0)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def test_circuit_rank_is_the_stable_rank_of_the_product():
    """The oracle is the singular values of the whole matrix W_Qᵀ W_K."""
    query, key = random(8, 40), random(8, 40)
    values = np.linalg.svd((query.T @ key).numpy(), compute_uv=False)
    assert circuit_rank(query, key) == pytest.approx((values**2).sum() / values[0] ** 2 / 8)


def test_circuit_rank_does_not_depend_on_the_gauge():
    """P43: W_Q → G W_Q with W_K → G⁻ᵀ W_K changes the norms, but not the circuit."""
    query, key, gauge = random(8, 40), random(8, 40), random(8, 8)
    changed = gauge @ query, torch.linalg.inv(gauge).T @ key
    assert float(changed[0].norm()) != pytest.approx(float(query.norm()), rel=0.05)
    assert circuit_rank(*changed) == pytest.approx(circuit_rank(query, key))


def test_a_head_that_compares_one_direction_has_the_least_rank():
    """Its rank is one over the dimension of the head."""
    query, key = torch.outer(random(8), random(40)), torch.outer(random(8), random(40))
    assert circuit_rank(query, key) == pytest.approx(1 / 8)


def test_the_rank_of_a_head_of_zeros_is_undefined():
    """It is nan, not zero."""
    assert np.isnan(circuit_rank(torch.zeros(8, 40), torch.zeros(8, 40)))
