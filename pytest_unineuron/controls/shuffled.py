"""N2: the weights of each tensor in random places."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.controls.plain_weights import plain_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def shuffled(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the values of each parameter permuted within it.

    It keeps the distribution of every tensor, heavy tails included, and none of its structure. Tied parameters stay
    tied. Raises NotApplicable for packed weights.
    """
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plain_parameters(twin):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return twin
