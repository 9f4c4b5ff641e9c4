"""Tracing: one forward pass in which every parameter matmul, token mixing, norm and embedding is cut.

The output of a cut becomes a fresh autograd leaf. Nothing here knows a module class or an architecture.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from pytest_unineuron.models.discovery.graph import EMBED, LINEAR, MIX, NORM, Trace, TracedOp
from pytest_unineuron.models.discovery.parameters import (
    ParameterFinder,
    ParameterPart,
    ParameterProduct,
    argument,
    eager_experts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

_ADDITIONS = frozenset(
    {torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, torch.Tensor.__iadd__}
)
_NORMS = frozenset({functional.layer_norm, functional.rms_norm, torch.layer_norm, torch.rms_norm})
_BLOCK = re.compile(r"(.*?\.\d+)(\.|$)")
_SHAPES = frozenset({"__get__", "size", "dim", "stride", "storage_offset", "__len__", "numel", "is_contiguous"})


class _Tracer(TorchFunctionMode):
    """Sees every torch function of a forward pass and cuts at matmuls, tables and token mixing."""

    def __init__(self, trace: Trace, operands: ParameterFinder) -> None:
        super().__init__()
        self.trace = trace
        self.operands = operands
        self.running: list[str] = []
        self._copies = WeakIdKeyDictionary()
        self._products = WeakIdKeyDictionary()
        self._calls: dict[tuple[str, ParameterPart | None], int] = {}
        self.norms: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in _SHAPES:
            return result
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        product = self.operands.product(func, args, kwargs, self.operand)
        if product is not None:
            return self._product(product, result)
        if func is functional.embedding:
            return self.cut(EMBED, result, result)
        if func is functional.scaled_dot_product_attention:
            parts = tuple(argument(args, kwargs, i, name) for i, name in enumerate(("query", "key", "value")))
            return self.cut(MIX, parts[0], result, parts=parts)
        if mixed := self.operands.mixing(func, args, kwargs):
            return self.cut(MIX, mixed[0], result, parts=mixed)
        if func in _NORMS and self.module not in self.norms:
            return self.cut(NORM, args[0], result)
        if func in _ADDITIONS and (sum_ := self._biased(args, result)) is not None:
            return sum_
        self._taint(args, result)
        return result

    @property
    def module(self) -> str:
        """The innermost module that is running."""
        return self.running[-1] if self.running else ""

    @property
    def block(self) -> str:
        """The outermost numbered module that is running, or that the innermost one lies in."""
        for path in self.running:
            if path.rpartition(".")[2].isdigit():
                return path
        found = _BLOCK.match(self.module)
        return found[1] if found else ""

    def operand(self, tensor: Any) -> ParameterPart | None:
        """The parameter that ``tensor`` is, is a part of, or was made of alone."""
        if not isinstance(tensor, torch.Tensor):
            return None
        return self._copies.get(tensor) or self.operands.find(tensor)

    def _taint(self, args: tuple[Any, ...], result: Tensor) -> None:
        """What is made of parameters alone is a copy of the first of them."""
        if result.requires_grad:
            return
        tensors = [a for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
        found = [self.operand(a) for a in tensors]
        if found and all(found) and self.operands.find(result) is None:
            self._copies[result] = found[0]

    def _product(self, product: ParameterProduct, result: Tensor) -> Tensor:
        given, operand, layout, transposed, bias = product
        if layout == "parts":
            made = []
            for part in range(len(result)):
                one = ParameterPart(operand.parameter, part, len(result))
                made.append(self.cut(LINEAR, given[part], result[part], operand=one, transposed=transposed, bias=bias))
            return torch.stack(made)
        if layout:
            return self.cut(
                LINEAR,
                given.mT,
                result.mT,
                operand=operand,
                transposed=transposed,
                bias=bias,
                channels_first=layout == "channels",
            ).mT
        return self.cut(LINEAR, given, result, operand=operand, transposed=transposed, bias=bias)

    def cut(
        self,
        kind: str,
        given: Tensor,
        result: Tensor,
        *,
        operand: ParameterPart | None = None,
        parts: tuple[Tensor, ...] = (),
        transposed: bool = False,
        bias: str = "",
        channels_first: bool = False,
    ) -> Tensor:
        """Make a fresh leaf of ``result``."""
        leaf = result.detach().requires_grad_(True)
        key, call = (self.module, operand), 0
        if operand is not None:
            call = self._calls[key] = self._calls.get(key, -1) + 1
        op = TracedOp(
            kind,
            self.module,
            given,
            leaf,
            operand,
            parts,
            self.block,
            call,
            bias,
            transposed=transposed,
            channels_first=channels_first,
        )
        self.trace.ops.append(op)
        with torch._C.DisableTorchFunction():
            output = leaf.clone()  # a leaf itself could not be changed in place by the model
        if kind == LINEAR:
            self._products[output] = op
        return output

    def _biased(self, args: tuple[Any, ...], result: Tensor) -> Tensor | None:
        """A parameter that is added right after a product belongs to it."""
        for product, other in (args[:2], args[1::-1]):
            op = self._products.get(product) if isinstance(product, torch.Tensor) else None
            operand = self.operand(other)
            if op is not None and operand is not None and other.numel() == op.width and not op.bias:
                op.bias, op.bias_after = operand.parameter, True
                op.leaf = result.detach().requires_grad_(True)
                with torch._C.DisableTorchFunction():
                    with_bias: Tensor = op.leaf.clone()
                    return with_bias
        return None


@contextmanager
def _followed(model: nn.Module, cutter: _Tracer) -> Iterator[None]:
    """While open, the cutter knows which module runs; what calls itself a norm and keeps its shape is a cut.

    A module that is some kind of linear layer without multiplying by a parameter of its own, such as a quantised
    one, is a cut as well.
    """
    begun: list[int] = []

    def enter(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            cutter.running.append(path)
            begun.append(len(cutter.trace.ops))

        return hook

    def leave(path: str, norm: bool, linear: bool) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            start = begun.pop()
            replaced = None
            given = args[0] if args else None
            if isinstance(output, torch.Tensor) and isinstance(given, torch.Tensor) and output.is_floating_point():
                made = cutter.trace.ops[start:]
                alone = sum(isinstance(a, torch.Tensor) for a in args) == 1
                if norm and (alone or not made) and output.shape == given.shape:
                    replaced = cutter.cut(NORM, given, output)
                if linear and output.shape[:-1] == given.shape[:-1] and not any(op.kind == LINEAR for op in made):
                    del cutter.trace.ops[start:]  # how it unpacks its weights is its own affair
                    replaced = cutter.cut(LINEAR, given, output, operand=ParameterPart(f"{path}.weight"))
                    made = cutter.trace.ops[start:]
                if len(made) == 1 and made[0].module == path:
                    only = made[0]
                    turned = given.mT if only.channels_first else given
                    came = output.mT if only.channels_first else output
                    only.whole = _same(turned, only.input) and _same(came, only.leaf)
            cutter.running.pop()
            return replaced

        return hook

    handles = []
    own = type(model).__name__
    for path, module in model.named_modules():
        kind = _beyond(type(module).__name__, own).lower()
        if "norm" in kind:
            cutter.norms.add(path)
        handles.append(module.register_forward_pre_hook(enter(path)))
        hook = leave(path, "norm" in kind, "linear" in kind and "norm" not in kind and _has_matrix(module))
        handles.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _beyond(name: str, model: str) -> str:
    """What a class is called beyond what it shares with the model's: RobertaPreLayerNormIntermediate is no norm.

    >>> _beyond("RobertaPreLayerNormIntermediate", "RobertaPreLayerNormForMaskedLM")
    'Intermediate'
    >>> _beyond("Linear4bit", "LlamaForCausalLM")
    'Linear4bit'
    """
    shared = 0
    while shared < min(len(name), len(model)) and name[shared] == model[shared]:
        shared += 1
    while 0 < shared < len(name) and not name[shared].isupper():  # whole words
        shared -= 1
    return name[shared:] or name


def _has_matrix(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return not list(module.children()) and any(tensor.dim() >= 2 for tensor in own)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether one is the other, perhaps in another shape."""
    with torch._C.DisableTorchFunction():
        return a.numel() == b.numel() and torch.equal(a.detach().flatten(), b.detach().flatten())


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Parameters without gradients and dropout off, put back afterwards."""
    trained = [p for p in model.parameters() if p.requires_grad]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode


def _values(output: Any) -> tuple[Any, ...]:
    if isinstance(output, dict):
        return tuple(output.values())
    return output if isinstance(output, tuple) else (output,)


def trace_forward(model: nn.Module, inputs: dict[str, Tensor]) -> Trace:
    """The cuts of one forward pass over ``inputs`` (one row of a few tokens is enough)."""
    found = Trace(next(iter(inputs.values())).shape[-1])
    cutter = _Tracer(found, ParameterFinder(model))
    with torch.enable_grad(), _frozen(model), eager_experts(model), _followed(model, cutter):
        model.eval()
        with cutter:
            output = model(**inputs)
    found.output = next((value for value in _values(output) if isinstance(value, torch.Tensor)), None)
    return found
