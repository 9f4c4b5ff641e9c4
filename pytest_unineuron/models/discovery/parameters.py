"""Which parameter a tensor is, and which torch functions multiply by one: no module class is asked.

A parameter is known by the memory it lies in, so that a view, a transpose or one expert's slice of it is still
the parameter. The same knowledge serves the trace, which finds neurons, and the watch, which records them.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

_LINEAR = frozenset({functional.linear})
_ADDED = frozenset({torch.addmm, torch.Tensor.addmm, torch.baddbmm, torch.Tensor.baddbmm})
_MATMULS = frozenset(
    {
        torch.matmul,
        torch.mm,
        torch.bmm,
        torch.einsum,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.Tensor.__rmatmul__,
        torch.Tensor.mm,
        torch.Tensor.bmm,
    }
)
_CONVOLUTIONS = frozenset({functional.conv1d, torch.conv1d, functional.conv2d, torch.conv2d})


class ParameterPart(NamedTuple):
    """A parameter by its name in the model, or one of ``parts`` equal parts of it, such as an expert's."""

    parameter: str
    part: int = 0
    parts: int = 1


class ParameterProduct(NamedTuple):
    """A product with a parameter, as a torch function was asked for it.

    ``layout`` says where the features lie: on the last axis (``""``), on the axis before it because the parameter
    stands on the left (``left``) or because the function is a convolution (``channels``), or ``parts``: one
    product for every part of the parameter. ``transposed``: the parameter is stored as [input, output]. ``bias``
    is what the same function adds.
    """

    given: Tensor
    operand: ParameterPart
    layout: str = ""
    transposed: bool = False
    bias: str = ""


class ParameterFinder:
    """The parameters of a model, by the memory they lie in."""

    def __init__(self, model: nn.Module) -> None:
        spans: dict[int, tuple[int, str, int]] = {}
        self._kept: dict[int, str] = {}
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        for name, tensor in named:
            if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
                continue
            start = _address(tensor)
            if not start:
                self._kept.setdefault(id(tensor), name)
                continue
            spans.setdefault(start, (start + tensor.numel() * tensor.itemsize, name, tensor.numel()))
        self._starts = sorted(spans)
        self._spans = [spans[start] for start in self._starts]

    def find(self, tensor: Tensor) -> ParameterPart | None:
        """The parameter whose memory ``tensor`` lies in, or None for data."""
        start = _address(tensor)
        if not start:
            name = self._kept.get(id(tensor))
            return ParameterPart(name) if name else None
        index = bisect_right(self._starts, start) - 1
        if index < 0:
            return None
        end, name, size = self._spans[index]
        if start >= end:
            return None
        offset = (start - self._starts[index]) // tensor.itemsize
        if not tensor.numel() or size % tensor.numel() or offset % tensor.numel():
            return ParameterPart(f"{name}[{offset}:{offset + tensor.numel()}]" if tensor.numel() < size else name)
        return ParameterPart(name, offset // tensor.numel(), size // tensor.numel())

    def product(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        operand: Callable[[Any], ParameterPart | None],
    ) -> ParameterProduct | None:
        """What a function multiplies by a parameter; None if it does not. ``operand`` says what is a parameter."""
        if func in _LINEAR:
            given, weight = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "weight")
            found = operand(weight)
            bias = operand(args[2] if len(args) > 2 else kwargs.get("bias"))
            return (
                ParameterProduct(given, found, "", weight.stride(-1) != 1, bias.parameter if bias else "")
                if found
                else None
            )
        if func in _CONVOLUTIONS:
            given, weight = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "weight")
            found = operand(weight)
            single = all(size == 1 for size in weight.shape[2:]) and given.dim() == 3
            return ParameterProduct(given, found, "channels") if found and single else None
        bias = None
        if func in _ADDED:
            bias = operand(args[0])
            names = ("batch1", "batch2") if func in (torch.baddbmm, torch.Tensor.baddbmm) else ("mat1", "mat2")
            tensors = [argument(args, kwargs, i, name) for i, name in enumerate(names, 1)]
        elif func in _MATMULS:
            tensors = [a for a in _items(args) if isinstance(a, torch.Tensor)]
        else:
            return None
        if len(tensors) != 2:
            return None
        left, right = map(operand, tensors)
        if right and not left:
            batched = tensors[1].dim() == 3 and tensors[0].dim() == 3 and len(tensors[1]) == len(tensors[0]) > 1
            layout = "parts" if batched and func is not torch.einsum else ""
            added = bias.parameter if bias else ""
            return ParameterProduct(tensors[0], right, layout, tensors[1].stride(-1) == 1, added)
        if left and not right:
            return ParameterProduct(tensors[1], left, "left", tensors[0].stride(-1) != 1)
        return None

    def mixing(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
        """What a function mixes over tokens: the factors of a product of data with data, or what is convolved."""
        if func in _CONVOLUTIONS:
            return (argument(args, kwargs, 0, "input"),)
        if func in _MATMULS or func in _ADDED or func in _LINEAR:
            tensors = [a for a in (*_items(args), *kwargs.values()) if isinstance(a, torch.Tensor)]
            return tuple(tensors[:2] if func in _LINEAR else tensors[-2:])
        return ()


def _address(tensor: Tensor) -> int:
    """Where a tensor lies in memory; 0 for one of a kind of its own, such as a quantised one, that does not say."""
    try:
        return int(tensor.data_ptr())
    except RuntimeError:
        return 0


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str) -> Any:
    """An argument of a torch function, however it was passed."""
    return args[index] if len(args) > index else kwargs[name]


def _items(args: tuple[Any, ...]) -> list[Any]:
    return [item for a in args for item in (a if isinstance(a, (tuple, list)) else (a,))]


@contextmanager
def eager_experts(model: Any) -> Iterator[None]:
    """While open, experts run one after the other, each a product of its own, whatever kernel is the default."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()
    before = [(c, c._experts_implementation) for c in configs if getattr(c, "_experts_implementation", None)]
    try:
        for config, _ in before:
            config._experts_implementation = "eager"
        yield
    finally:
        for config, implementation in before:
            config._experts_implementation = implementation
