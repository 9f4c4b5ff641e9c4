"""Sees the torch functions of a forward pass, and records those that are operations in a trace."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from pytest_unineuron.models.discovery.graph import EMBED, LINEAR, MIX, NORM, Trace, TracedOp
from pytest_unineuron.models.discovery.layout import Projection
from pytest_unineuron.models.discovery.parameters import (
    CHANNELS,
    LAST,
    PARTS,
    ParameterFinder,
    ParameterPart,
    ParameterProduct,
    argument,
    is_float_tensor,
    mixed_tensors,
    parameter_product,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_ADDITIONS = frozenset(
    {torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, torch.Tensor.__iadd__}
)
_NORMS = frozenset({functional.layer_norm, functional.rms_norm, torch.layer_norm, torch.rms_norm})
_BLOCK = re.compile(r"(.*?\.\d+)(\.|$)")
_SHAPES = frozenset({"__get__", "size", "dim", "stride", "storage_offset", "__len__", "numel", "is_contiguous"})
"""Functions that only ask for the shape of a tensor, or for an attribute."""


class Tracer(TorchFunctionMode):
    """Sees every torch function of a forward pass and records those that are operations."""

    def __init__(self, trace: Trace, parameters: ParameterFinder) -> None:
        super().__init__()
        self.trace = trace
        self.running: list[str] = []  # the paths of the modules that are running, the innermost one last
        self.norms: set[str] = set()
        self._parameters = parameters
        self._copies = WeakIdKeyDictionary()
        self._products = WeakIdKeyDictionary()
        self._calls: dict[tuple[str, ParameterPart | None], int] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in _SHAPES or not is_float_tensor(result):
            return result
        recorded = self._record_function(func, args, kwargs, result)
        if recorded is not None:
            return recorded
        self._note_copy(args, result)
        return result

    def _record_function(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> Tensor | None:
        """The output that replaces ``result`` if the call is an operation; None if it is not."""
        if (product := parameter_product(func, args, kwargs, self._parameter)) is not None:
            return self._record_product(product, result)
        if func is functional.embedding:
            return self.record(EMBED, result, result)
        if func is functional.scaled_dot_product_attention:
            parts = tuple(argument(args, kwargs, i, name) for i, name in enumerate(("query", "key", "value")))
            return self.record(MIX, parts[0], result, parts=parts)
        if mixed := mixed_tensors(func, args, kwargs):
            return self.record(MIX, mixed[0], result, parts=mixed)
        if func in _NORMS and self.module not in self.norms:
            return self.record(NORM, args[0], result)
        return self._with_bias(args, result) if func in _ADDITIONS else None

    @property
    def module(self) -> str:
        """The innermost module that is running."""
        return self.running[-1] if self.running else ""

    @property
    def block(self) -> str:
        """The outermost module with a number that is running, or that the innermost module is in."""
        for path in self.running:
            if path.rpartition(".")[2].isdigit():
                return path
        found = _BLOCK.match(self.module)
        return found[1] if found else ""

    def record(
        self,
        kind: str,
        data: Tensor,
        result: Tensor,
        *,
        parts: tuple[Tensor, ...] = (),
        operand: ParameterPart | None = None,
        **attributes: Any,
    ) -> Tensor:
        """Record an operation from ``data`` to ``result``, of any shape; returns a copy of its new leaf.

        ``operand`` is the parameter of a matmul, and ``attributes`` are those of its projection.
        """
        leaf = result.detach().requires_grad_(True)
        projection = Projection(self.module, *(operand or ParameterPart("")), whole=False, **attributes)
        call = self._calls[self.module, operand] = self._calls.get((self.module, operand), -1) + 1
        self.trace.ops.append(TracedOp(kind, data, leaf, projection, parts, self.block, call))
        output = _copy(leaf)
        if kind == LINEAR:
            self._products[output] = self.trace.ops[-1]
        return output

    def _parameter(self, tensor: Any) -> ParameterPart | None:
        """The parameter that ``tensor`` is, is a part of, or is computed from without any data."""
        known = self._copies.get(tensor) if isinstance(tensor, torch.Tensor) else None
        return known or self._parameters.find(tensor)

    def _note_copy(self, args: tuple[Any, ...], result: Tensor) -> None:
        """Note a tensor that is computed from parameters alone as a copy of the first of them."""
        if result.requires_grad:
            return
        operands = [self._parameter(a) for a in args if is_float_tensor(a)]
        if operands and all(operands) and self._parameters.find(result) is None:
            self._copies[result] = operands[0]

    def _record_product(self, product: ParameterProduct, result: Tensor) -> Tensor:
        data, operand, features, transposed, bias = product
        record = partial(self.record, LINEAR, transposed=transposed, bias=bias)
        if features == PARTS:
            parts = [ParameterPart(operand.parameter, part, len(result)) for part in range(len(result))]
            return torch.stack([record(data[part.part], result[part.part], operand=part) for part in parts])
        if features == LAST:
            return record(data, result, operand=operand)
        return record(data.mT, result.mT, operand=operand, channels_first=features == CHANNELS).mT

    def _with_bias(self, args: tuple[Any, ...], result: Tensor) -> Tensor | None:
        """A product whose bias is added right after it becomes one operation with that bias."""
        for product, other in (args[:2], args[1::-1]):
            op = self._products.get(product) if isinstance(product, torch.Tensor) else None
            operand = self._parameter(other)
            if op is not None and operand is not None and other.numel() == op.width and not op.projection.bias:
                op.projection = replace(op.projection, bias=operand.parameter, bias_after=True)
                op.leaf = result.detach().requires_grad_(True)
                return _copy(op.leaf)
        return None


def _copy(leaf: Tensor) -> Tensor:
    """A copy that the model may change in place, as it could not change the leaf."""
    with torch._C.DisableTorchFunction():
        copy: Tensor = leaf.clone()
        return copy
