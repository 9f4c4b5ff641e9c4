"""Module hooks for tracing: which module runs, which norms and linear layers there are, which product is a module."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.graph import LINEAR, NORM, TracedOp
from pytest_unineuron.models.discovery.parameters import ParameterPart, is_float_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.tracer import Tracer


class ModuleHooks:
    """Hooks that tell a tracer which module runs, and record modules whose inside says nothing.

    These are norms, whatever they compute, and linear layers that multiply by no parameter of their own, such as
    quantised ones.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._ops = tracer.trace.ops
        self._starts: list[int] = []

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """While open, the hooks are on all modules of a model."""
        handles = []
        for path, module in model.named_modules():
            kind = _module_kind(module, model)
            if kind == NORM:
                self._tracer.norms.add(path)
            handles.append(module.register_forward_pre_hook(partial(self._enter, path)))
            handles.append(module.register_forward_hook(partial(self._leave, path, kind)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._tracer.running.append(path)
        self._starts.append(len(self._ops))

    def _leave(self, path: str, kind: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        start = self._starts.pop()
        replaced = None
        if args and isinstance(args[0], torch.Tensor) and is_float_tensor(output):
            inside = self._ops[start:]
            if kind == NORM:
                replaced = self._norm_output(args, output, inside)
            elif kind == LINEAR and not any(op.kind == LINEAR for op in inside):
                replaced = self._linear_output(path, args[0], output, start)
                inside = self._ops[start:]
            _mark_whole(path, args[0], output, inside)
        self._tracer.running.pop()
        return replaced

    def _norm_output(self, args: tuple[Any, ...], output: Tensor, inside: list[TracedOp]) -> Tensor | None:
        alone = sum(isinstance(a, torch.Tensor) for a in args) == 1
        if output.shape != args[0].shape or (inside and not alone):
            return None
        return self._tracer.record(NORM, args[0], output)

    def _linear_output(self, path: str, data: Tensor, output: Tensor, start: int) -> Tensor | None:
        if output.shape[:-1] != data.shape[:-1]:
            return None
        del self._ops[start:]  # the operations with which the module unpacks its weights
        return self._tracer.record(LINEAR, data, output, operand=ParameterPart(f"{path}.weight"))


def _mark_whole(path: str, data: Tensor, output: Tensor, inside: list[TracedOp]) -> None:
    """Mark the only operation inside of a module as the whole module if its input and output are the module's."""
    if len(inside) == 1 and inside[0].module == path:
        (op,) = inside
        data, output = (data.mT, output.mT) if op.projection.channels_first else (data, output)
        whole = _same_values(data, op.input) and _same_values(output, op.leaf)
        op.projection = replace(op.projection, whole=whole)


def _module_kind(module: nn.Module, model: nn.Module) -> str:
    """NORM or LINEAR for a module whose class says so, else empty."""
    name = _own_name(type(module).__name__, type(model).__name__).lower()
    if "norm" in name:
        return NORM
    return LINEAR if "linear" in name and _has_matrix(module) else ""


def _own_name(name: str, model: str) -> str:
    """The name of a class without the words that it shares with the class of the model.

    >>> _own_name("RobertaPreLayerNormIntermediate", "RobertaPreLayerNormForMaskedLM")
    'Intermediate'
    >>> _own_name("Linear4bit", "LlamaForCausalLM")
    'Linear4bit'
    """
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, model, strict=False)))
    while 0 < shared < len(name) and not name[shared].isupper():  # whole words
        shared -= 1
    return name[shared:] or name


def _has_matrix(module: nn.Module) -> bool:
    tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return not list(module.children()) and any(tensor.dim() >= 2 for tensor in tensors)


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same values, perhaps in another shape."""
    with torch._C.DisableTorchFunction():
        return a.numel() == b.numel() and torch.equal(a.detach().flatten(), b.detach().flatten())
