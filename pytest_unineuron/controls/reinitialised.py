"""N1: weights drawn from a Normal with the mean and the standard deviation of each tensor."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.controls.plain_weights import plain_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def reinitialised(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy whose parameters are Normal with each parameter's own mean and population standard deviation.

    It keeps what scale and offset alone explain, such as a negative mean bias, and nothing that was learnt. Tied
    parameters stay tied. Raises NotApplicable for packed weights.
    """
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plain_parameters(twin):
            mean, deviation = parameter.float().mean().cpu(), parameter.float().std(correction=0).cpu()
            parameter.copy_(mean + deviation * torch.randn(parameter.shape, generator=generator))
    return twin
