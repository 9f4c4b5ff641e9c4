"""Tiny models to compare, and their units."""

from functools import cache

import torch

from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.universality.units import ComparedModel
from tests.models.tiny import build, in_memory


def compared_model(model):
    """A model that is not shared between tests, so that they may change it."""
    loaded = in_memory(model)
    return ComparedModel(WeightView(loaded, dissect(loaded)))


@cache
def shared_model(architecture="gpt2", seed=0, dtype=torch.float32):
    """A model that all tests share."""
    return compared_model(build(architecture, seed=seed).to(dtype))


def units(of, batches, kind, *, half=None):
    """All activations of one kind in float64, [token, unit]."""
    chosen = [batch for batch in batches if half is None or batch.group % 2 == half]
    return torch.cat([of.observe(batch)[kind] for batch in chosen]).double().numpy()
