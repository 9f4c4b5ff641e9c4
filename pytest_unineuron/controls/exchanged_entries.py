"""N9: the query and key weights of each head in random places, so that only their size is left."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.attention import find_heads
from pytest_unineuron.models.discovery.matrix import projection_matrix
from pytest_unineuron.models.discovery.trace import trace_forward
from pytest_unineuron.models.loading.forward import text_arguments

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pytest_unineuron.models.discovery.graph import Trace
    from pytest_unineuron.models.discovery.layout import Projection

IDS = torch.arange(1, 15)[None]
"""Some tokens that every vocabulary has, on which heads and neurons are found."""


def exchanged_entries(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the entries of W_Q permuted within every head, and those of W_K.

    Unlike a permutation of whole tensors, it keeps how much the heads of a layer differ in the norms of their weights.
    Raises NotApplicable for a model without separate query and key projections, or with weights that are not stored as
    they are used.
    """
    twin = copy.deepcopy(model)
    heads = find_heads(traced(twin))
    if not heads:
        raise NotApplicable("no attention with separate query and key projections was found")
    parts = dict.fromkeys((part.projection, part.rows, part.width) for h in heads for part in (h.query, h.key))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for projection, rows, width in parts:
            weight = stored_matrix(twin, projection, width)
            own = weight[list(rows)]
            order = torch.randperm(own.numel(), generator=generator).to(own.device)
            weight[list(rows)] = own.flatten()[order].view_as(own)
    return twin


def traced(model: PreTrainedModel) -> Trace:
    """Return a trace of the model on some tokens."""
    return trace_forward(model, text_arguments(model, IDS, torch.ones_like(IDS)))


def stored_matrix(model: PreTrainedModel, projection: Projection, width: int) -> Tensor:
    """Return the weights of a projection [output, input] that can be changed in place.

    Raises NotApplicable for weights that are not stored as they are used.
    """
    weight = projection_matrix(model, projection, width).weight
    stored = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    if weight.untyped_storage().data_ptr() not in stored:
        raise NotApplicable(f"the weights of {projection.path} are not stored as they are used")
    return weight
