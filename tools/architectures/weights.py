"""Random weights under which mistakes show: none is zero or one, and activation functions are not linear."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

SPREAD = 0.2
"""The standard deviation of the entries of matrices, and of the noise on biases and gains."""
STORED_AS_VECTOR = re.compile(r"(bias|norm|gain|scale)", re.IGNORECASE)
"""Last part of the names of biases and gains; those of several heads or experts have two dimensions or more."""


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> None:
    """Redraw all matrices, embeddings with standard deviation one, and add noise to all gains and biases.

    Models initialise some matrices with zeros, most with values so small that activation functions are linear, and
    some not at all. Buffers stay, because they are not learned.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter.dtype)
        if id(parameter) in embeddings:
            parameter.copy_(noise)
        elif parameter.dim() < 2 or _is_vector(name, parameter):
            parameter.nan_to_num_().clamp_(-8, 8).add_(SPREAD * noise)
        else:
            parameter.copy_(SPREAD * noise)


def _is_vector(name: str, parameter: Tensor) -> bool:
    constant = bool((parameter == parameter.flatten()[0]).all())
    return constant and STORED_AS_VECTOR.search(name.rpartition(".")[2] or name) is not None
