"""The vocabulary composition of directions of any dictionary."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from pytest_unineuron import extend
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.roles.directions import direction_kurtosis
from pytest_unineuron.study.extensions import Registry
from tests.roles.views import normal, view_of, writes


@pytest.fixture
def features():
    """A function that declares a kind of units whose modules write some directions, until the test ends."""
    registry = Registry()

    def features(**written):
        module = nn.Identity()
        vars(module).update(written)
        registry.add(extend.units("features", site="residual")(lambda view: [None, module]))

    yield features
    registry.remove_all()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_kurtosis_and_rank_agree_with_scipy(architecture):
    """Behind a norm that centres, as layer norm does, the mean of a direction is taken off first."""
    view = view_of(architecture)
    directions = normal(7, 32, seed=5) + 1
    written = directions.double().numpy()
    if architecture == "gpt2":
        written = written - written.mean(axis=1, keepdims=True)
    unembedding = view.unembedding.double().numpy()
    cosines = (
        unembedding / np.linalg.norm(unembedding, axis=1, keepdims=True) @ written.T / np.linalg.norm(written, axis=1)
    )
    kurtosis, rank = direction_kurtosis(view, directions)
    np.testing.assert_allclose(kurtosis, stats.kurtosis(cosines, fisher=False), rtol=1e-5)
    null = Weights(view).random_composition.kurtosis
    np.testing.assert_allclose(rank, [(null < value).mean() for value in kurtosis.numpy()], atol=1e-12)


def test_neurons_as_directions_are_neurons():
    """Neurons that are given as directions have the composition of neurons."""
    weights = Weights(view_of("gpt_neox"))
    kurtosis, rank = weights.role(direction_kurtosis, torch.from_numpy(writes(view_of("gpt_neox"))))
    np.testing.assert_allclose(kurtosis, weights.composition.kurtosis, rtol=1e-5)
    np.testing.assert_allclose(rank, weights.composition_rank, atol=0.002)


def test_a_kind_of_units_says_what_it_writes(features):
    directions = normal(3, 32, seed=1)
    features(writes=directions)
    assert torch.equal(Weights(view_of("gpt2")).written_by("features"), directions)


def test_a_kind_of_units_that_does_not_say_so_is_na(features):
    features()
    with pytest.raises(NotApplicable, match="'features' do not say what they write: give their modules writes"):
        Weights(view_of("gpt2")).written_by("features")
