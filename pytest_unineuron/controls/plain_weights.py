"""The weights of a model that a control may draw anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32)


def plain_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return all parameters of a model.

    Raises NotApplicable for one whose weights are packed into integers, as parameters or as buffers: a control that
    left them as they are, or drew codes, would be no null.
    """
    found = list(model.parameters())
    if any(not weight.is_floating_point() for weight in found) or any(map(_is_packed, model.buffers())):
        raise NotApplicable("the weights of this model are packed into integers; load it in floating point")
    return found


def _is_packed(buffer: Tensor) -> bool:
    """Whether a buffer is a matrix of integers, unlike counters, masks, and rows of positions."""
    return buffer.dtype in INTEGERS and buffer.dim() > 1 and min(buffer.shape) > 1
