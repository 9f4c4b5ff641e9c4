"""N10: the input weights of each neuron in random places, so that only their size and the bias are left."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.controls.exchanged_entries import stored_matrix, traced
from pytest_unineuron.errors import NeuronsNotFound, NotApplicable
from pytest_unineuron.models.discovery.neurons import find_neurons

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def exchanged_input_weights(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the entries of the input weights of every neuron permuted.

    Unlike a permutation of whole tensors, it leaves every neuron its bias and the norm of its weights. Both read
    vectors of a gated neuron are permuted, each by itself. Raises NotApplicable for a model whose neurons are not
    found, or with weights that are not stored as they are used.
    """
    twin = copy.deepcopy(model)
    try:
        layers = find_neurons(traced(twin), twin).layers
    except NeuronsNotFound as error:  # they were found by a pattern, which is not known here
        raise NotApplicable(str(error)) from None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            for factor in layer.up:
                own = stored_matrix(twin, factor.projection, layer.input_width)[factor.slice(layer.width)]
                order = torch.rand(own.shape, generator=generator).argsort(dim=1).to(own.device)
                own.copy_(own.gather(1, order))
    return twin
