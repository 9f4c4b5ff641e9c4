"""One forward pass, seen as a graph of parameter matmuls with only cheap operations between them.

What lies between two cuts is a small differentiable graph, and "what does this number depend on?" is one tiny
backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.layout import Projection

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.parameters import ParameterPart

LINEAR, MIX, NORM, EMBED = "linear", "mix", "norm", "embedding"
"""A matmul of data with a parameter; anything that mixes tokens (attention, convolution); a norm; a table."""


@dataclass(eq=False)
class TracedOp:
    """One cut: what went in (a function of earlier cuts), and the leaf that came out.

    ``module`` is the innermost module that was running, ``block`` the outermost one that is numbered, and
    ``operand`` the parameter of a matmul. ``parts`` is what a token mixing was given. ``bias`` is the name of a
    parameter that is added to the product, by a function of its own if ``bias_after``; the leaf has it in.
    ``whole`` says that the product is all that ``module`` does. ``call`` counts how often it did so before.
    """

    kind: str
    module: str
    input: Tensor
    leaf: Tensor
    operand: ParameterPart | None = None
    parts: tuple[Tensor, ...] = ()
    block: str = ""
    call: int = 0
    bias: str = ""
    bias_after: bool = False
    whole: bool = False
    channels_first: bool = False
    transposed: bool = False

    @cached_property
    def rows(self) -> Tensor:
        """The input as [token, feature]."""
        return self.input.reshape(-1, self.input.shape[-1])

    @cached_property
    def out(self) -> Tensor:
        """The output as [token, feature]."""
        return self.leaf.detach().reshape(-1, self.leaf.shape[-1])

    @property
    def width(self) -> int:
        """Number of features that come out."""
        return int(self.leaf.shape[-1])


@dataclass
class Trace:
    """The cuts of one forward pass over ``tokens`` tokens, in the order in which they ran, and its first output."""

    tokens: int = 0
    ops: list[TracedOp] = field(default_factory=list)
    output: Tensor | None = None
    _reach: dict[int, tuple[Tensor, list[TracedOp]]] = field(default_factory=dict)

    def depends(self, scalar: Tensor, of: Tensor) -> dict[TracedOp, Tensor]:
        """The cuts a number made of ``of`` depends on directly, each with the gradient, shaped [token, feature]."""
        reached = self.reached(of)
        if not reached or not scalar.requires_grad:
            return {}
        grads = torch.autograd.grad(scalar, [op.leaf for op in reached], retain_graph=True, allow_unused=True)
        return {
            op: grad.reshape(-1, grad.shape[-1])
            for op, grad in zip(reached, grads, strict=True)
            if grad is not None and bool(grad.any())
        }

    def reached(self, tensor: Tensor) -> list[TracedOp]:
        """The cuts a tensor is made of, in the order in which they ran."""
        if tensor.grad_fn is None:
            return [op for op in self.ops if op.leaf is tensor]
        if id(tensor) not in self._reach:
            known, seen, stack, found = self._by_leaf, {tensor.grad_fn}, [tensor.grad_fn], set()
            while stack:
                node = stack.pop()
                leaf = getattr(node, "variable", None)
                if leaf is not None and id(leaf) in known:
                    found.add(known[id(leaf)])
                for after, _ in node.next_functions:
                    if after is not None and after not in seen:
                        seen.add(after)
                        stack.append(after)
            # The tensor is kept too, lest another one be given its id.
            self._reach[id(tensor)] = tensor, [self.ops[number] for number in sorted(found)]
        return self._reach[id(tensor)][1]

    def read_by(self, op: TracedOp) -> list[TracedOp]:
        """The later cuts that read what a cut returned, with nothing but cheap operations between them."""
        return self._read_by.get(id(op), [])

    @cached_property
    def _read_by(self) -> dict[int, list[TracedOp]]:
        readers: dict[int, list[TracedOp]] = {}
        for op in self.ops:
            for upstream in self.reached(op.rows):
                readers.setdefault(id(upstream), []).append(op)
        return readers

    @cached_property
    def _by_leaf(self) -> dict[int, int]:
        return {id(op.leaf): number for number, op in enumerate(self.ops)}

    def linear(self) -> list[TracedOp]:
        """The parameter matmuls."""
        return [op for op in self.ops if op.kind == LINEAR]


def projection_of(op: TracedOp) -> Projection:
    """How the product of an op is named in a plan."""
    assert op.operand is not None
    return Projection(
        op.module,
        op.operand.parameter,
        op.operand.part,
        op.operand.parts,
        op.bias,
        op.bias_after,
        op.whole,
        op.transposed,
        op.channels_first,
    )
