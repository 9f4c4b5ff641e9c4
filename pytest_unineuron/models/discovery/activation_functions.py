"""The activation function of a layer, by name: the one of transformers' functions that best fits traced values."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import torch
from transformers.activations import ACT2FN

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME_TOLERANCE, COARSE_NAME_TOLERANCE = 1e-3, 2e-2
"""The largest error, relative to the largest value, with which a function may fit: in full and in half precision."""


def name_activation(
    post: Tensor, factors: list[Tensor], preferred: frozenset[str], *, routing_weighted: bool = False
) -> tuple[str, int]:
    """The name of the activation function that turns one or two factors into ``post``, and which factor it acts on.

    All tensors are [token, unit]. The name is empty, and the factor the first, if no function fits. Of several that
    fit equally well, one whose name is ``preferred`` wins. ``routing_weighted`` leaves one number per token free.
    """
    tolerance = NAME_TOLERANCE if post.dtype in (torch.float32, torch.float64) else COARSE_NAME_TOLERANCE
    post, factors = post.float(), [factor.float() for factor in factors]
    scale = float(post.abs().max()) or 1.0
    errors: dict[tuple[str, int], float] = {}
    for name in ACT2FN:
        function = activation_function(name)
        for index in range(len(factors)) if function is not None else ():
            value = activated(function, factors, index)
            value = fitted_per_token(value, post) if routing_weighted else value
            errors[name, index] = float((value - post).abs().max()) / scale
    least = min(errors.values())
    if not least <= tolerance:
        return "", 0
    equally_good = [pair for pair, error in errors.items() if error <= 2 * least + 1e-7]
    return next((pair for pair in equally_good if pair[0] in preferred), equally_good[0])


def activated(function: nn.Module | None, factors: list[Tensor], index: int = 0) -> Tensor:
    """The units that a function makes of factor ``index`` and, if there are two, the other one; all [token, unit]."""
    assert function is not None
    value: Tensor = function(factors[index])
    return value if len(factors) == 1 else value * factors[1 - index]


def fitted_per_token(value: Tensor, target: Tensor) -> Tensor:
    """``value`` times the number per token that brings it closest to ``target``; all [token, unit]."""
    return value * ((value * target).sum(1) / value.pow(2).sum(1).clamp_min(1e-30))[:, None]


@cache
def activation_function(name: str) -> nn.Module | None:
    """One of transformers' activation functions, or None if it has weights or needs arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function: nn.Module = ACT2FN[name]
            function(torch.zeros(1))
        except (TypeError, ValueError, RuntimeError, ImportError, KeyError):
            return None
    return function if not list(function.parameters()) else None


def curvature(units: Tensor, leaf: Tensor, outputs: slice) -> float:
    """The largest second derivative of any unit [token, unit] by its own one of the ``outputs`` of a leaf."""
    (slope,) = torch.autograd.grad(units.sum(), leaf, create_graph=True, allow_unused=True)
    if slope is None or not slope.requires_grad:
        return 0.0
    (second,) = torch.autograd.grad(slope[..., outputs].sum(), leaf, retain_graph=True, allow_unused=True)
    return 0.0 if second is None else float(second[..., outputs].abs().max())
