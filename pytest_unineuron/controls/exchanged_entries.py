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
    from transformers import PreTrainedModel

IDS = torch.arange(1, 15)[None]
"""Some tokens that every vocabulary has, on which the heads are found."""


def exchanged_entries(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the entries of W_Q permuted within every head, and those of W_K.

    Unlike a permutation of whole tensors, it keeps how much the heads of a layer differ in the norms of their weights.
    Raises NotApplicable for a model without separate query and key projections, or with weights that are not stored as
    they are used.
    """
    twin = copy.deepcopy(model)
    heads = find_heads(trace_forward(twin, text_arguments(twin, IDS, torch.ones_like(IDS))))
    if not heads:
        raise NotApplicable("no attention with separate query and key projections was found")
    parts = dict.fromkeys((part.projection, part.rows, part.width) for h in heads for part in (h.query, h.key))
    stored = {parameter.untyped_storage().data_ptr() for parameter in twin.parameters()}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for projection, rows, width in parts:
            weight = projection_matrix(twin, projection, width).weight
            if weight.untyped_storage().data_ptr() not in stored:
                raise NotApplicable(f"the weights of {projection.path} are not stored as they are used")
            own = weight[list(rows)]
            order = torch.randperm(own.numel(), generator=generator).to(own.device)
            weight[list(rows)] = own.flatten()[order].view_as(own)
    return twin
