"""One forward pass, seen as a graph of parameter matmuls with only cheap operations between them.

Every parameter matmul, token mixing and norm is cut: its output becomes a fresh autograd leaf. What lies
between two cuts is then a small differentiable graph, and "what does this number depend on?" is one tiny
backward pass. Nothing here knows a module class or an architecture.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

LINEAR, MIX, NORM = "linear", "mix", "norm"
"""A matmul of data with a parameter; anything that mixes tokens (attention, convolution); a norm module."""

_MATMULS = frozenset(
    {torch.matmul, torch.mm, torch.bmm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.mm,
     torch.Tensor.bmm, torch.einsum, torch.baddbmm}
)  # fmt: skip
_CONVOLUTIONS = frozenset({torch.nn.functional.conv1d, torch.conv1d})


@dataclass(eq=False)
class Op:
    """One cut: what went in (a function of earlier cuts), and the leaf that came out.

    ``module`` is the path of the module that owns the parameter, or of the norm. ``parts`` are the query,
    key and value of an attention, [batch, head, token, dimension].
    """

    kind: str
    module: str
    input: Tensor
    leaf: Tensor
    parts: tuple[Tensor, ...] = ()

    @property
    def rows(self) -> Tensor:
        """The input as [token, feature]."""
        return self.input.reshape(-1, self.input.shape[-1])

    @property
    def width(self) -> int:
        """Number of features that come out."""
        return int(self.leaf.shape[-1])


@dataclass
class Trace:
    """The cuts of one forward pass, in the order in which they ran."""

    ops: list[Op] = field(default_factory=list)

    def depends(self, scalar: Tensor) -> dict[Op, Tensor]:
        """The cuts that a number depends on directly, each with the gradient, shaped [token, feature]."""
        if not scalar.requires_grad:
            return {}
        leaves = [op.leaf for op in self.ops]
        grads = torch.autograd.grad(scalar, leaves, retain_graph=True, allow_unused=True)
        return {
            op: grad.reshape(-1, grad.shape[-1])
            for op, grad in zip(self.ops, grads, strict=True)
            if grad is not None and bool(grad.any())
        }

    def linear(self) -> list[Op]:
        """The parameter matmuls."""
        return [op for op in self.ops if op.kind == LINEAR]


class _Cutter(TorchFunctionMode):
    """Sees every torch function of a forward pass and cuts at matmuls and token mixing."""

    def __init__(self, trace: Trace, owners: dict[int, str]) -> None:
        super().__init__()
        self.trace = trace
        self.owners = owners

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        if func is torch.nn.functional.linear:
            given, weight = _nth(args, kwargs, 0, "input"), _nth(args, kwargs, 1, "weight")
            return self.cut(LINEAR, given, result, self.owner(weight))
        if func in (torch.addmm, torch.Tensor.addmm):
            given, weight = _nth(args, kwargs, 1, "mat1"), _nth(args, kwargs, 2, "mat2")
            return self.cut(LINEAR, given, result, self.owner(weight))
        if func is torch.nn.functional.scaled_dot_product_attention:
            parts = tuple(_nth(args, kwargs, i, name) for i, name in enumerate(("query", "key", "value")))
            return self.cut(MIX, parts[0], result, "", parts)
        if func in _CONVOLUTIONS:
            return self.cut(MIX, _nth(args, kwargs, 0, "input"), result, "")
        if func in _MATMULS:
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            owned = [self.owner(a) for a in tensors]
            data = [a for a, name in zip(tensors, owned, strict=True) if not name]
            if len(data) == 1:
                return self.cut(LINEAR, data[0], result, next(name for name in owned if name))
            if len(data) > 1:
                return self.cut(MIX, data[0], result, "")
        return result

    def owner(self, tensor: Any) -> str:
        """The module whose parameter ``tensor`` is, or is a view of; empty for data."""
        return self.owners.get(tensor.untyped_storage().data_ptr(), "") if isinstance(tensor, torch.Tensor) else ""

    def cut(self, kind: str, given: Tensor, result: Tensor, module: str, parts: tuple[Tensor, ...] = ()) -> Tensor:
        leaf = result.detach().requires_grad_(True)
        self.trace.ops.append(Op(kind, module, given, leaf, parts))
        return leaf.clone()  # a leaf itself could not be changed in place by the model


def _nth(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs[name]


@contextmanager
def _norms_cut(model: nn.Module, cutter: _Cutter) -> Iterator[None]:
    """While open, every module that calls itself a norm and keeps its input's shape is a cut."""

    def hook(path: str) -> Callable[..., Any]:
        def replace(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if isinstance(output, torch.Tensor) and args and output.shape == args[0].shape:
                return cutter.cut(NORM, args[0], output, path)
            return output

        return replace

    handles = [
        module.register_forward_hook(hook(path))
        for path, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Parameters without gradients and dropout off, put back afterwards."""
    trained = [p for p in model.parameters() if p.requires_grad]
    mode = model.training
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        model.train(mode)


def trace(model: nn.Module, inputs: dict[str, Tensor]) -> Trace:
    """The cuts of one forward pass over ``inputs`` (one row of a few tokens is enough)."""
    found = Trace()
    owners = {
        parameter.untyped_storage().data_ptr(): path
        for path, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
    }
    cutter = _Cutter(found, owners)
    with torch.enable_grad(), _frozen(model), _norms_cut(model, cutter):
        model.eval()
        with cutter:
            model(**inputs)
    return found
