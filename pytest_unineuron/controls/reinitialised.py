"""N1: weights drawn anew with the mean and the deviation each tensor had."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def reinitialised(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A copy whose every parameter is Normal with the parameter's own mean and population deviation.

    Keeps what scale and offset alone explain (a negative mean bias, for one) and destroys everything learnt.
    Tied parameters stay tied.
    """
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            mean, deviation = parameter.float().mean().cpu(), parameter.float().std(correction=0).cpu()
            parameter.copy_(mean + deviation * torch.randn(parameter.shape, generator=generator))
    return twin
