"""The graph of one forward pass: parameter matmuls, token mixing, norms and embeddings, and what depends on what.

The output of each of these operations is a new autograd leaf. The graph between two of them is therefore small, and
one short backward pass tells which of them a number depends on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.layout import Projection

LINEAR, MIX, NORM, EMBED = "linear", "mix", "norm", "embedding"
"""The kinds of operations: a matmul of data with a parameter; anything that mixes tokens, such as attention or a
convolution; a norm; a look-up in an embedding."""


@dataclass(eq=False)
class TracedOp:
    """One operation of a traced pass: its input, a function of earlier operations, and its output, a leaf.

    ``projection`` is the product that a matmul is, whose bias the leaf includes; that of any other operation has no
    parameter. ``block`` is the outermost running module with a number, ``parts`` are the tensors that a token mixing
    combines. ``call`` is how often the module used the same parameter before.
    """

    kind: str
    input: Tensor
    leaf: Tensor
    projection: Projection
    parts: tuple[Tensor, ...] = ()
    block: str = ""
    call: int = 0

    @property
    def module(self) -> str:
        """The innermost module that was running."""
        return self.projection.module

    @cached_property
    def inputs(self) -> Tensor:
        """The input as [token, feature]."""
        return self.input.reshape(-1, self.input.shape[-1])

    @cached_property
    def outputs(self) -> Tensor:
        """The output as [token, feature], without gradient."""
        return self.leaf.detach().reshape(-1, self.leaf.shape[-1])

    @property
    def width(self) -> int:
        """The number of output features."""
        return int(self.leaf.shape[-1])


@dataclass
class Trace:
    """The operations of a forward pass over ``tokens`` tokens, in the order in which they ran, and its first output."""

    tokens: int = 0
    ops: list[TracedOp] = field(default_factory=list)
    output: Tensor | None = None
    _sources: Any = field(default_factory=WeakIdKeyDictionary)

    @property
    def matmuls(self) -> list[TracedOp]:
        """The matmuls of data with a parameter."""
        return [op for op in self.ops if op.kind == LINEAR]

    def gradients(self, scalar: Tensor, of: Tensor) -> dict[TracedOp, Tensor]:
        """The operations that a number depends on directly, with its gradient by their outputs, [token, feature].

        ``scalar`` is made of entries of the tensor ``of``.
        """
        sources = self.sources(of)
        if not sources or not scalar.requires_grad:
            return {}
        gradients = torch.autograd.grad(scalar, [op.leaf for op in sources], retain_graph=True, allow_unused=True)
        return {
            op: gradient.reshape(-1, gradient.shape[-1])
            for op, gradient in zip(sources, gradients, strict=True)
            if gradient is not None and bool(gradient.any())
        }

    def sources(self, tensor: Tensor) -> list[TracedOp]:
        """The operations whose outputs a tensor of any shape is made of directly, in the order in which they ran."""
        if tensor.grad_fn is None:
            return [op for op in self.ops if op.leaf is tensor]
        if tensor not in self._sources:
            numbers = {self._numbers[leaf] for leaf in _leaves(tensor.grad_fn) if leaf in self._numbers}
            self._sources[tensor] = [self.ops[number] for number in sorted(numbers)]
        found: list[TracedOp] = self._sources[tensor]
        return found

    def readers(self, op: TracedOp) -> list[TracedOp]:
        """The later operations that read the output of ``op`` directly."""
        return self._readers.get(op, [])

    @cached_property
    def _readers(self) -> dict[TracedOp, list[TracedOp]]:
        readers: dict[TracedOp, list[TracedOp]] = {}
        for op in self.ops:
            for source in self.sources(op.inputs):
                readers.setdefault(source, []).append(op)
        return readers

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(op.leaf): number for number, op in enumerate(self.ops)}


def _leaves(node: torch.autograd.graph.Node) -> set[int]:
    """The ids of all leaves below a node of an autograd graph."""
    seen, waiting, leaves = {node}, [node], set()
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaves.add(id(leaf))
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return leaves
