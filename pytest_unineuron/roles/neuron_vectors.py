"""One number per neuron from its read vector, its write vector and its bias, all float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView


def read_norms(view: WeightView) -> Tensor:
    """Return ‖ŵ_in‖₂, [neuron]."""
    return torch.cat([_norms(layer.read) for layer in view.layers])


def write_norms(view: WeightView) -> Tensor:
    """Return ‖ŵ_out‖₂, [neuron]."""
    return torch.cat([_norms(layer.write) for layer in view.layers])


def read_write_cosines(view: WeightView) -> Tensor:
    """Return cos(ŵ_in, ŵ_out), [neuron]; 0 where one of them is 0."""
    pairs = [(layer.read.double(), layer.write.double()) for layer in view.layers]
    return torch.cat([torch.cosine_similarity(read, write, dim=1, eps=1e-100).cpu() for read, write in pairs])


def folded_biases(view: WeightView) -> Tensor:
    """Return b̂ = b + w·β, [neuron]. Raises NotApplicable for MLPs without an input bias."""
    stored_biases(view)  # to find out before every norm is folded
    return _biases(layer.bias for layer in view.layers)


def stored_biases(view: WeightView) -> Tensor:
    """Return the input bias as it is stored, [neuron]. Raises NotApplicable for MLPs without one."""
    return _biases(view.raw_biases)


def _biases(biases: Iterable[Tensor | None]) -> Tensor:
    found = []
    for bias in biases:
        if bias is None:
            raise NotApplicable("the MLPs of this model have no input bias")
        found.append(bias.double().cpu())
    return torch.cat(found)


def _norms(vectors: Tensor) -> Tensor:
    """The norm of each row, [row]: squares of float32 values may not be float32."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    return norms.cpu()
