"""Which parameter a tensor is, and which torch functions multiply by one, whatever the class of the module.

A parameter is recognised by its memory, so that a view, a transpose or the slice of one expert is still the parameter.
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
_BATCHED_ADDED = frozenset({torch.baddbmm, torch.Tensor.baddbmm})
_ADDED = frozenset({torch.addmm, torch.Tensor.addmm}) | _BATCHED_ADDED
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

LAST, LEFT, CHANNELS, PARTS = "last axis", "parameter on the left", "channels first", "one product per part"
"""Where the features of a product are: on the last axis; on the axis before it, because the parameter stands on the
left or because the function is a convolution; or on the last axis of a separate product for each part."""


class ParameterPart(NamedTuple):
    """A parameter by its name in the model, or one of ``parts`` equal parts of it, such as that of an expert."""

    parameter: str
    part: int = 0
    parts: int = 1


class ParameterProduct(NamedTuple):
    """A call of a torch function that multiplies ``data`` by a parameter.

    ``features`` says where the features are. ``transposed`` says that the parameter is stored as [input, output].
    ``bias`` is the name of a parameter that the same function adds.
    """

    data: Tensor
    operand: ParameterPart
    features: str = LAST
    transposed: bool = False
    bias: str = ""


class ParameterFinder:
    """The parameters and buffers of a model by their memory."""

    def __init__(self, model: nn.Module) -> None:
        spans: dict[int, tuple[int, str, int]] = {}
        self._without_address: dict[int, str] = {}
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        for name, tensor in named:
            if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
                continue
            start = _address(tensor)
            if start:
                spans.setdefault(start, (start + tensor.numel() * tensor.itemsize, name, tensor.numel()))
            else:
                self._without_address.setdefault(id(tensor), name)
        self._starts = sorted(spans)
        self._spans = [spans[start] for start in self._starts]

    def find(self, tensor: Any) -> ParameterPart | None:
        """The parameter that the memory of ``tensor`` belongs to; None for data and for what is no tensor."""
        if not isinstance(tensor, torch.Tensor):
            return None
        start = _address(tensor)
        if not start:
            name = self._without_address.get(id(tensor))
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


def parameter_product(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    find: Callable[[Any], ParameterPart | None],
) -> ParameterProduct | None:
    """The product of data with a parameter that a call of a torch function is, or None if it is no such product.

    ``find`` returns the parameter that a tensor is, or None.
    """
    if func in _LINEAR or func in _CONVOLUTIONS:
        return _module_product(func, args, kwargs, find)
    bias = None
    if func in _ADDED:
        bias = find(args[0])
        names = ("batch1", "batch2") if func in _BATCHED_ADDED else ("mat1", "mat2")
        factors = [argument(args, kwargs, i, name) for i, name in enumerate(names, 1)]
    elif func in _MATMULS:
        factors = _tensors(args)
    else:
        return None
    if len(factors) != 2:
        return None
    first, second = factors
    left, right = map(find, factors)
    if right and not left:
        batched = first.dim() == second.dim() == 3 and len(first) == len(second) > 1
        features = PARTS if batched and func is not torch.einsum else LAST
        return ParameterProduct(first, right, features, second.stride(-1) == 1, _name(bias))
    if left and not right:
        return ParameterProduct(second, left, LEFT, first.stride(-1) != 1)
    return None


def _module_product(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    find: Callable[[Any], ParameterPart | None],
) -> ParameterProduct | None:
    """The product that a linear function or a convolution of width one is."""
    data, weight = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "weight")
    operand = find(weight)
    if operand is None:
        return None
    if func in _LINEAR:
        bias = find(args[2] if len(args) > 2 else kwargs.get("bias"))
        return ParameterProduct(data, operand, LAST, weight.stride(-1) != 1, _name(bias))
    single = all(size == 1 for size in weight.shape[2:]) and data.dim() == 3
    return ParameterProduct(data, operand, CHANNELS) if single else None


def mixed_tensors(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    """The tensors, of any shape, that a call mixes over tokens: factors of a product, or the input of a convolution."""
    if func in _CONVOLUTIONS:
        return (argument(args, kwargs, 0, "input"),)
    tensors = _tensors((*args, *kwargs.values()))
    if func in _LINEAR:
        return tuple(tensors[:2])
    return tuple(tensors[-2:]) if func in _MATMULS or func in _ADDED else ()


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str) -> Any:
    """An argument of a torch function, passed by position or by name."""
    return args[index] if len(args) > index else kwargs[name]


def is_float_tensor(value: Any) -> bool:
    """Whether a value is a tensor of floating point numbers."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _name(part: ParameterPart | None) -> str:
    return part.parameter if part else ""


def _address(tensor: Tensor) -> int:
    """The memory address of a tensor; 0 for a tensor subclass that has none, such as a quantised one."""
    try:
        return int(tensor.data_ptr())
    except RuntimeError:
        return 0


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    items = [item for a in args for item in (a if isinstance(a, tuple | list) else (a,))]
    return [item for item in items if isinstance(item, torch.Tensor)]


@contextmanager
def eager_experts(model: Any) -> Iterator[None]:
    """While open, experts run one after the other, each as a product of its own, whatever kernel is configured."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()
    before = [(c, c._experts_implementation) for c in configs if getattr(c, "_experts_implementation", None)]
    try:
        for config, _ in before:
            config._experts_implementation = "eager"
        yield
    finally:
        for config, implementation in before:
            config._experts_implementation = implementation
