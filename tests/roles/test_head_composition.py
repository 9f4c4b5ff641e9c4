"""Laws of the composition of neurons and heads (numbers are those of the methods' list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.roles.bos_attention import bos_alignment
from pytest_unineuron.roles.head_composition import (
    KEY,
    OUTPUT,
    QUERY,
    VALUE,
    circuits_of,
    head_composition,
    largest_score,
    parts_of,
)
from tests.roles.views import normal, view_of

seeds = st.integers(0, 2**32 - 1)


def head(seed, size=3, width=10):
    q, k, v = (normal(size, width, seed=seed + part).double() for part in range(3))
    return q, k, v, normal(width, size, seed=seed + 3).double()


def scores(circuits, vectors):
    return {part: largest_score(vectors, [circuit]) for part, circuit in circuits.items()}


@given(seeds)
def test_scores_are_those_of_the_whole_matrices(seed):
    """A neuron that feeds keys meets W_Qᵀ W_K, one that feeds queries its transpose (P44, B14 in the original)."""
    q, k, v, o = head(seed)
    w = torch.nn.functional.normalize(normal(4, 10, seed=seed + 9).double(), dim=1)
    qk, ov = q.T @ k, o @ v
    expected = {
        KEY: (w @ qk.T).norm(dim=1) / qk.norm(),
        QUERY: (w @ qk).norm(dim=1) / qk.norm(),
        VALUE: (w @ ov.T).norm(dim=1) / ov.norm(),
        OUTPUT: (w @ ov).norm(dim=1) / ov.norm(),
    }
    found = scores(circuits_of(q, k, v, o), w)
    for part, wanted in expected.items():
        torch.testing.assert_close(found[part], wanted)
    swapped = scores(circuits_of(k, q, v, o), w)
    torch.testing.assert_close(swapped[KEY], found[QUERY])
    for part, matrix in ((KEY, qk), (VALUE, ov)):
        assert float(found[part].max()) <= float(torch.linalg.matrix_norm(matrix, 2) / matrix.norm()) + 1e-9


@given(seeds)
def test_mean_squares_over_a_basis(seed):
    """P42: 1 / width."""
    basis = torch.linalg.qr(normal(10, 10, seed=seed + 9).double()).Q
    for found in scores(circuits_of(*head(seed)), basis).values():
        torch.testing.assert_close(found.square().mean(), torch.tensor(0.1, dtype=torch.float64))


@given(seeds, st.floats(1e-6, 1e6))
def test_the_basis_of_a_head_and_scales_do_not_matter(seed, scale):
    """P43."""
    q, k, v, o = head(seed)
    change = normal(3, 3, seed=seed + 5).double() + 4 * torch.eye(3)
    inverse = torch.linalg.inv(change)
    w = normal(4, 10, seed=seed + 9).double()
    plain = scores(circuits_of(q, k, v, o), w)
    turned = scores(circuits_of(change.T @ q, inverse @ (scale * k), change @ v, o @ inverse), scale * w)
    for part, found in plain.items():
        torch.testing.assert_close(turned[part], found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_neurons_meet_heads_of_other_layers(architecture):
    """What the first layer writes is read by heads of the second; what neurons read is written by the heads before."""
    view = view_of(architecture)
    both, layer = head_composition(view), Weights(view).layer
    found, rank = ({part: of[row] for part, of in both.items()} for row in (0, 1))
    for part in (QUERY, KEY, VALUE):
        assert np.isnan(found[part].numpy()[layer == 1]).all()
        circuits = [circuits_of(*parts_of(view, head))[part] for head in view.anatomy.heads if head.layer == 1]
        torch.testing.assert_close(found[part][:48], largest_score(view.stream_writes[0], circuits))
    writers = [circuits_of(*parts_of(view, head))[OUTPUT] for head in view.anatomy.heads if head.layer == 0]
    if architecture == "gpt_neox":  # in parallel blocks, neurons do not read what the heads of their layer write
        assert np.isnan(found[OUTPUT].numpy()[layer == 0]).all()
    else:
        torch.testing.assert_close(found[OUTPUT][:48], largest_score(view.layers[0].read, writers))
    assert 0.3 < float(rank[VALUE].nanmean()) < 0.7  # random write vectors are like mixtures of them
    assert 0 < float(found[OUTPUT][48:].min()) < float(found[OUTPUT][48:].max()) <= 1


@pytest.mark.parametrize("architecture", ["bert", "openai-gpt"])
def test_norms_of_the_whole_stream_are_not_folded_in_twice(architecture):
    """Behind the neurons of a block, such a norm is in front of the next heads too."""
    view = view_of(architecture)
    for instrument in (head_composition, bos_alignment):
        with pytest.raises(NotApplicable, match="the blocks of this model norm the whole stream"):
            instrument(view)
