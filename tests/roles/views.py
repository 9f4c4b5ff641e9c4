"""Weights of tiny models that the tests of roles share."""

import torch

from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import build, in_memory


def normal(*shape, seed):
    """Independent Normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def view_of(architecture, **choices):
    """The weights of a tiny random model."""
    loaded = in_memory(build(architecture, **choices))
    return WeightView(loaded, dissect(loaded))


def writes(view):
    """The write vectors of all neurons, [neuron, width] float64, as an array."""
    return torch.cat([layer.write for layer in view.layers]).double().numpy()
