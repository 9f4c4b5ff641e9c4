"""Which activation function turns a pre-activation into what was traced: the best of all that transformers has."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import torch
from transformers.activations import ACT2FN

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME_TOLERANCE = 1e-3
"""An activation is named when it reproduces the traced values this well, relative to their size."""


def name_activation(
    post: Tensor, factors: list[Tensor], named: frozenset[str], *, scaled: bool = False
) -> tuple[str, int]:
    """The activation that best turns the factors [token, unit] into ``post``, and which factor it acts on.

    The name is empty, and the factor the first, if none does. ``scaled`` leaves one number per token free.
    """
    limit = NAME_TOLERANCE if post.dtype in (torch.float32, torch.float64) else 2e-2
    post, factors = post.float(), [f.float() for f in factors]
    scale = float(post.abs().max()) or 1.0
    errors: dict[tuple[str, int], float] = {}
    for name in ACT2FN:
        function = activation_function(name)
        if function is None:
            continue
        for index, factor in enumerate(factors):
            value = function(factor) if len(factors) == 1 else function(factor) * factors[1 - index]
            if scaled:
                value = value * ((value * post).sum(1) / value.pow(2).sum(1).clamp_min(1e-30))[:, None]
            errors[name, index] = float((value - post).abs().max()) / scale
    least = min(errors.values())
    if not least <= limit:
        return "", 0
    alike = [pair for pair, error in errors.items() if error <= 2 * least + 1e-7]
    return next((pair for pair in alike if pair[0] in named), alike[0])


@cache
def activation_function(name: str) -> nn.Module | None:
    """One of transformers' activations, or None if it has weights or needs arguments: then it is not a name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function: nn.Module = ACT2FN[name]
            function(torch.zeros(1))
        except (TypeError, ValueError, RuntimeError, ImportError, KeyError):
            return None
    return function if not list(function.parameters()) else None


def curvature(units: Tensor, leaf: Tensor, rows: slice) -> float:
    """The largest second derivative of any unit [token, unit] by its own of the ``rows`` of a cut."""
    (slope,) = torch.autograd.grad(units.sum(), leaf, create_graph=True, allow_unused=True)
    if slope is None or not slope.requires_grad:
        return 0.0
    (bend,) = torch.autograd.grad(slope[..., rows].sum(), leaf, retain_graph=True, allow_unused=True)
    return 0.0 if bend is None else float(bend[..., rows].abs().max())
