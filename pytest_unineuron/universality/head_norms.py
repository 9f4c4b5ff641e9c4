"""The norm of what each attention head writes, as encoders of the input of the heads' output projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pytest_unineuron.models.discovery.matrix import module_matrix

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView


class HeadNorms(nn.Module):
    """The norms of what the heads of a layer write, [token, head], from their values, [token, head · dimension].

    ``factors`` is R of W_O = QR of every head, [head, dimension, value]: the norm ‖W_O z‖ is ‖R z‖.
    """

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors)

    def forward(self, values: Tensor) -> Tensor:
        """Return the norms, summed in float64: squares of float32 values may not be float32."""
        factors = self.get_buffer("factors").to(values)
        by_head = values.reshape(len(values), len(factors), -1)
        written = torch.einsum("hij,thj->thi", factors, by_head)
        norms: Tensor = torch.linalg.vector_norm(written, dim=2, dtype=torch.float64)
        return norms.to(values.dtype)


def head_norms(view: WeightView) -> list[HeadNorms]:
    """Return the encoders of a model, one for each of its attention layers."""
    return [
        HeadNorms(_factors(view, attention.out, attention.heads, attention.dimension))
        for attention in view.anatomy.attentions
    ]


def _factors(view: WeightView, path: str, heads: int, dimension: int) -> Tensor:
    model = view.loaded.model
    weight = module_matrix(model.get_submodule(path), heads * dimension).weight
    weight = weight.to(torch.float64 if model.dtype == torch.float64 else torch.float32)
    by_head = weight.reshape(weight.shape[0], heads, dimension)
    factors: Tensor = torch.linalg.qr(by_head.transpose(0, 1)).R
    return factors
