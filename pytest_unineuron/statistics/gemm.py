"""Products of float32 matrices on a CPU, by the faster of the two libraries that torch has for them.

torch multiplies float32 by MKL, which has no use for AVX-512 on processors of other makers than its own; oneDNN, which
torch has for convolutions and half precision, does. On an AMD of the fifth Zen generation it is 2.2 times as fast
(``python -m benchmarks --only products``). Rounding differs, as it does from one processor to the next; precision and
order of size do not: both sum in float32.

Where that does not apply, or ``torch.backends.mkldnn`` is switched off, everything is left to torch.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pytest_unineuron.system import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

LEAST = 2**24
"""Multiplications below which a product is left to torch: what is made ready for each shape costs as much."""
TILE = 1024
"""Rows and columns of a sum of products that are made before they are added to it: few enough to stay in the cache."""


def product(x: Tensor, y: Tensor) -> Tensor:
    """``x @ y.T`` of [row, feature] and [column, feature], [row, column]."""
    return _onednn(x, y, None) if _served(x, y) else x @ y.T


def add_product(into: Tensor, x: Tensor, y: Tensor) -> None:
    """Add ``x.T @ y`` to ``into`` [unit of x, unit of y]: co-moments of units, given [token, unit].

    Fastest where the values of a unit lie one after the other.
    """
    if not _served(x.T, y.T):
        into.addmm_(x.T, y)
        return
    for columns, others in zip(into.split(TILE, dim=1), y.T.split(TILE), strict=True):
        others = others.contiguous()
        for tile, some in zip(columns.split(TILE), x.T.split(TILE), strict=True):
            tile += _onednn(some, others, None)


@contextmanager
def fast_linear(model: nn.Module) -> Iterator[None]:
    """While open, linear layers of a model multiply by the faster library, where nothing is differentiated.

    Whatever else it computes is watched meanwhile, which takes some microseconds each time, so this does nothing for
    models of other precisions or on other devices.
    """
    if not (faster() and any(map(_plain, model.parameters()))):
        yield
        return
    with _Linear():
        yield


@cache
def faster() -> bool:
    """Whether oneDNN is there, known to be faster on this processor, and multiplies as it should."""
    there = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not there or torch.backends.cpu.get_cpu_capability() != "AVX512" or machine.intel():
        return False
    x, y, bias = (torch.linspace(-1, 1, size).sin() for size in (35, 28, 4))
    x, y = x.view(7, 5).T, y.view(7, 4).T  # laid out as units often are
    try:
        found = _onednn(x, y, bias)
    except (AttributeError, RuntimeError, TypeError):  # a torch in which this function is another
        return False
    return torch.allclose(found, x @ y.T + bias, atol=1e-5)


def _onednn(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ y.T + bias``."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")
    return found


def _served(x: Tensor, y: Tensor, bias: Tensor | None = None) -> bool:
    """Whether ``x @ y.T + bias`` is one of the products that the faster library is for."""
    parts = [part for part in (x, y, bias) if part is not None]
    return (
        all(map(_plain, parts))
        and y.dim() == 2
        and x.dim() >= 2
        and x.numel() * y.shape[0] >= LEAST
        and 1 in y.stride()
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in parts))
        and bool(torch.backends.mkldnn.enabled)
        and faster()
    )


def _plain(part: Any) -> bool:
    """Whether a tensor is nothing but float32 numbers in the memory of the processor."""
    ordinary = type(part) in (torch.Tensor, torch.nn.Parameter)
    return ordinary and part.dtype == torch.float32 and part.device.type == "cpu" and part.layout == torch.strided


class _Linear(TorchFunctionMode):
    """Sees to the products of ``nn.Linear`` and of the ``Conv1D`` of transformers."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear and not kwargs and _served(*args):
            return _onednn(args[0], args[1], args[2] if len(args) > 2 else None)
        if func is torch.addmm and not kwargs and args[0].dim() == 1 and _served(args[1], args[2].T, args[0]):
            return _onednn(args[1], args[2].T, args[0])
        return func(*args, **kwargs)
