"""The matrix and bias of a projection as [output, input] and [output], however the model stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.layout import Projection

_BLOCK = 4096
"""The number of rows of the identity matrix that a module is applied to at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``y = weight @ x + bias``; ``weight`` is [output, input], ``bias`` is [output] or None if there is none."""

    weight: Tensor
    bias: Tensor | None


def projection_matrix(model: nn.Module, projection: Projection, width: int) -> LinearMap:
    """The matrix and bias of a projection that reads ``width`` features.

    Raises NotApplicable for a parameter that is not in memory, or that is only a view of another one.
    """
    if projection.whole:
        return module_matrix(model.get_submodule(projection.module), width, channels_first=projection.channels_first)
    stored = _stored(model, projection.parameter, projection)
    with torch.no_grad():
        flat = stored.reshape(projection.parts, -1)[projection.part]
        weight = flat.view(width, -1).T if projection.transposed else flat.view(-1, width)
        bias = None
        if projection.bias:
            bias = _stored(model, projection.bias, projection).reshape(-1, len(weight))
            bias = bias[projection.part if len(bias) == projection.parts else 0]
    return LinearMap(weight, bias)


def module_matrix(module: nn.Module, width: int, *, channels_first: bool = False) -> LinearMap:
    """The matrix and bias of a module that is linear in its input of ``width`` features.

    If a few random inputs show that the matrix is a parameter of the module, perhaps transposed, as in most modules,
    it is that parameter. If not, it is computed by applying the module to the identity matrix.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    dtype = like.dtype if like.dtype.itemsize > 1 else torch.float32

    def apply(x: Tensor) -> Tensor:
        y: Tensor = module(x.mT[None])[0].mT if channels_first else module(x)
        return y

    with torch.no_grad():
        origin = apply(torch.zeros(1, width, dtype=dtype, device=like.device))[0]  # [output]
        biased = any(name.endswith("bias") for name, _ in module.named_parameters())
        bias = origin if biased or bool(origin.any()) else None
        x = torch.randn(3, width, generator=torch.Generator().manual_seed(0)).to(like.device, dtype)
        y = apply(x) - origin
        # Rounding errors grow with the width; a wrong matrix has an error above 1.
        allowed = min(8 * torch.finfo(dtype).eps * width**0.5, 0.05) * float(y.abs().max())
        errors = [(float((x @ own.T - y).abs().max()), own) for own in _own_matrices(module, width, len(origin))]
        least, best = min(errors, key=lambda pair: pair[0], default=(float("inf"), origin))
        if least <= allowed:
            return LinearMap(best, bias)
        identity = torch.eye(width, dtype=dtype, device=like.device)
        columns = [apply(block) - origin for block in identity.split(_BLOCK)]
    return LinearMap(torch.cat(columns).T.contiguous(), bias)


def _own_matrices(module: nn.Module, width: int, outputs: int) -> list[Tensor]:
    """The parameters of a module that could be its matrix, [output, input]."""
    plain = [p for p in module.parameters(recurse=False) if type(p) is torch.nn.Parameter]
    own = [p.detach() for p in plain if p.dim() == 2 and p.is_floating_point()]
    found = [matrix for matrix in own if matrix.shape == (outputs, width)]
    return found + [matrix.T for matrix in own if matrix.shape == (width, outputs)]


def _stored(model: nn.Module, name: str, projection: Projection) -> Tensor:
    """A parameter or buffer by name. Raises NotApplicable if there is none or if it is not in memory."""
    module, _, own_name = name.rpartition(".")
    try:
        stored: Tensor = getattr(model.get_submodule(module), own_name)
    except AttributeError:
        raise NotApplicable(f"{name} is no parameter by itself; its weights cannot be read") from None
    if stored.is_meta:
        raise NotApplicable(f"{projection.path} is not in memory (offloaded); its weights cannot be read")
    return stored.detach()
