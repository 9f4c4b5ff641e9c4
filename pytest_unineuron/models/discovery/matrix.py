"""The matrix and bias of a projection, in one orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.layout import Projection

_ROWS = 4096
"""Rows of the identity that are replayed at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``y = weight @ x + bias``; ``weight`` is [output, input]. ``bias`` is None if there is none."""

    weight: Tensor
    bias: Tensor | None


def projection_matrix(model: nn.Module, projection: Projection, width: int) -> LinearMap:
    """What a projection multiplies its ``width`` input features by.

    A module is replayed on the identity matrix, so it does not matter how it stores its weights; of a parameter
    that no module of its own multiplies by, the plan says which way it lies.
    """
    if projection.whole:
        return replay_module(model.get_submodule(projection.module), width, channels_first=projection.channels_first)
    stored = _stored(model, projection.parameter, projection)
    with torch.no_grad():
        flat = stored.reshape(projection.parts, -1)[projection.part]
        weight = flat.view(width, -1).T if projection.transposed else flat.view(-1, width)
        bias = None
        if projection.bias:
            bias = _stored(model, projection.bias, projection).reshape(-1, len(weight))
            bias = bias[projection.part if len(bias) == projection.parts else 0]
    return LinearMap(weight, bias)


def replay_module(module: nn.Module, width: int, *, channels_first: bool = False) -> LinearMap:
    """The matrix and the bias of a module that is linear in its input of ``width`` features.

    A few random rows tell whether that is a matrix the module holds, as it is or transposed, which is all there
    is to most modules; if not, the identity matrix is replayed.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    dtype = like.dtype if like.dtype.itemsize > 1 else torch.float32

    def ask(x: Tensor) -> Tensor:
        answer: Tensor = module(x.mT[None])[0].mT if channels_first else module(x)
        return answer

    with torch.no_grad():
        origin = ask(torch.zeros(1, width, dtype=dtype, device=like.device))[0]  # [output]
        biased = any(name.endswith("bias") for name, _ in module.named_parameters())
        bias = origin if biased or bool(origin.any()) else None
        rows = torch.randn(3, width, generator=torch.Generator().manual_seed(0)).to(like.device, dtype)
        answer = ask(rows) - origin
        # Rounding grows with the width; a matrix that is not the right one is off by more than one.
        allowed = min(8 * torch.finfo(dtype).eps * width**0.5, 0.05) * float(answer.abs().max())
        errors = [(float((rows @ held.T - answer).abs().max()), held) for held in _held(module, width, len(origin))]
        least, held = min(errors, key=lambda pair: pair[0], default=(float("inf"), origin))
        if least <= allowed:
            return LinearMap(held, bias)
        identity = torch.eye(width, dtype=dtype, device=like.device)
        columns = [ask(part) - origin for part in identity.split(_ROWS)]
    return LinearMap(torch.cat(columns).T.contiguous(), bias)


def _held(module: nn.Module, width: int, outputs: int) -> list[Tensor]:
    """The matrices a module holds that could be its own, [output, input]."""
    plain = [p for p in module.parameters(recurse=False) if type(p) is torch.nn.Parameter]
    own = [p.detach() for p in plain if p.dim() == 2 and p.is_floating_point()]
    found = [matrix for matrix in own if matrix.shape == (outputs, width)]
    return found + [matrix.T for matrix in own if matrix.shape == (width, outputs)]


def _stored(model: nn.Module, name: str, projection: Projection) -> Tensor:
    try:
        stored: Tensor = model.get_parameter(name)
    except AttributeError:
        try:
            stored = model.get_buffer(name)
        except AttributeError:
            raise NotApplicable(f"{name} is no parameter by itself; its weights cannot be read") from None
    if stored.is_meta:
        raise NotApplicable(f"{projection.path} is not in memory (offloaded); its weights cannot be read")
    return stored.detach()
