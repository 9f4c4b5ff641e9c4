"""Products of float32 matrices on a CPU, by oneDNN instead of MKL where that is faster.

torch multiplies float32 matrices with MKL, which does not use AVX-512 on processors of other makers than Intel. oneDNN,
which torch contains for convolutions and half precision, does: on a fifth generation AMD Zen it is twice as fast
(``python -m benchmarks --only products``). Both sum in float32, so only rounding differs.

There is one switch: ``torch.backends.mkldnn.enabled = False`` leaves every product to torch.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pytest_unineuron.system import machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

MIN_MULTIPLICATIONS = 2**24
"""Smaller products are left to torch: what oneDNN prepares for each shape costs as much as it saves."""
PRODUCT_TILE = 1024
"""Rows and columns of a sum of products that are computed at a time: few enough to stay in the cache."""


def product_library() -> Literal["oneDNN", "torch"]:
    """Return the name of the library that multiplies large float32 matrices on this CPU; results depend on it."""
    return "oneDNN" if torch.backends.mkldnn.enabled and onednn_is_faster() else "torch"


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x @ y.T``, [row, column], of ``x`` [row, feature] and ``y`` [column, feature]."""
    return _onednn(x, y) if _onednn_applies(x, y) else x @ y.T


def add_product(into: Tensor, x: Tensor, y: Tensor) -> None:
    """Add ``x.T @ y`` to ``into`` [unit of x, unit of y], for ``x`` and ``y`` [token, unit].

    Fastest if the values of each unit are contiguous.
    """
    if not _onednn_applies(x.T, y.T):
        into.addmm_(x.T, y)
        return
    for columns, ys in zip(into.split(PRODUCT_TILE, dim=1), y.T.split(PRODUCT_TILE), strict=True):
        ys = ys.contiguous()
        for tile, xs in zip(columns.split(PRODUCT_TILE), x.T.split(PRODUCT_TILE), strict=True):
            tile += _onednn(xs, ys)


def fast_linear(model: nn.Module) -> AbstractContextManager[object]:
    """Return a context in which the linear layers of a model use ``product_library``, except under autograd.

    It intercepts every call of a torch function, at some microseconds each, so it does nothing for a model without
    float32 weights on a CPU.
    """
    applies = product_library() == "oneDNN" and any(map(_is_plain, model.parameters()))
    return _OneDnnLinear() if applies else nullcontext()


@cache
def onednn_is_faster() -> bool:
    """Return whether oneDNN is known to be faster than MKL on this processor, and multiplies correctly."""
    available = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not available or torch.backends.cpu.get_cpu_capability() != "AVX512" or machine.has_intel_cpu():
        return False
    x, y, bias = (torch.linspace(-1, 1, size).sin() for size in (35, 28, 4))
    x, y = x.view(7, 5).T, y.view(7, 4).T  # not contiguous, as units often are
    try:
        found = _onednn(x, y, bias)
    except (AttributeError, RuntimeError, TypeError):  # the function is private and may differ in another torch
        return False
    return torch.allclose(found, x @ y.T + bias, atol=1e-5)


def _onednn(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ y.T + bias`` by oneDNN."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")
    return found


def _onednn_applies(x: Tensor, y: Tensor, bias: Tensor | None = None) -> bool:
    """Whether ``x @ y.T + bias`` is a large product of plain matrices, without gradient, and oneDNN is in use."""
    operands = [x, y] if bias is None else [x, y, bias]
    return (
        all(map(_is_plain, operands))
        and y.dim() == 2
        and x.dim() >= 2
        and x.numel() * len(y) >= MIN_MULTIPLICATIONS
        and 1 in y.stride()
        and not (torch.is_grad_enabled() and any(operand.requires_grad for operand in operands))
        and product_library() == "oneDNN"
    )


def _is_plain(operand: Any) -> bool:
    """Whether a tensor is dense float32 in the memory of the CPU, and no subclass with arithmetic of its own."""
    if type(operand) not in (torch.Tensor, torch.nn.Parameter):
        return False
    return (operand.dtype, operand.device.type, operand.layout) == (torch.float32, "cpu", torch.strided)


class _OneDnnLinear(TorchFunctionMode):
    """Computes ``nn.Linear`` and the ``Conv1D`` of transformers with oneDNN where it applies."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operands: tuple[Any, ...] = ()  # x, y and a bias
        if func is functional.linear and not kwargs:
            operands = args
        elif func is torch.addmm and not kwargs and args[0].dim() == 1:
            operands = args[1], args[2].T, args[0]
        if operands and _onednn_applies(*operands):
            return _onednn(*operands)
        return func(*args, **(kwargs or {}))
