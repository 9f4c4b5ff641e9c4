"""Attention heads, found in a trace: the rows and columns of the projections that belong to each head."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.dataflow import InputNorm, input_norm
from pytest_unineuron.models.discovery.graph import LINEAR, MIX, NORM, Trace, TracedOp
from pytest_unineuron.models.discovery.layout import Projection  # noqa: TC001 - revive reads this annotation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HeadPart:
    """The query, key or value of a head: the ``rows`` of a projection that reads ``width`` features behind a norm.

    ``own_norm`` is the module that norms the output of the projection, as some models do with queries and keys.
    """

    projection: Projection
    rows: tuple[int, ...]
    input_norm: InputNorm
    width: int
    own_norm: str = ""


@dataclass(frozen=True)
class Head:
    """The projections of one attention head. Heads that share a key and a value have equal parts.

    The output projection ``out`` reads ``inputs`` values, of which ``columns`` are those of this head. ``value`` and
    ``out`` are None and ``columns`` is empty if the output projection does not read the values of the heads unmixed.
    ``before_neurons`` says that the neurons of its own block read what it writes: those of parallel blocks do not.
    ``out_norm`` is the norm that the output passes before it is added to the residual stream; empty for none.
    """

    layer: int
    index: int
    query: HeadPart
    key: HeadPart
    value: HeadPart | None = None
    out: Projection | None = None
    columns: tuple[int, ...] = ()
    inputs: int = 0
    before_neurons: bool = False
    out_norm: str = ""


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer: ``out`` is its output projection, which reads ``heads`` times ``dimension`` values."""

    layer: int
    out: str
    heads: int
    dimension: int


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One attention as it ran: query, key and value are [head, token, dimension], with perhaps fewer key heads.

    ``op`` is the operation that returned the values of all heads.
    """

    op: TracedOp
    query: Tensor
    key: Tensor
    value: Tensor

    @property
    def heads(self) -> int:
        """The number of query heads."""
        return len(self.query)

    def layer(self, number: int) -> int:
        """The number of its block; for an attention in no numbered block, ``number``."""
        digits = self.op.block.rpartition(".")[2]
        return int(digits) if digits else number


def attention_calls(trace: Trace) -> list[AttentionCall]:
    """Every attention in a trace: a fused one, or a product of attention weights and values."""
    found = []
    for op in trace.ops:
        if op.kind != MIX:
            continue
        if len(op.parts) == 3:
            found.append(AttentionCall(op, *(_by_head(part) for part in op.parts)))
        elif len(op.parts) == 2 and (scores := _scores(trace, op)) is not None:
            query, key = scores.parts[0], scores.parts[1].mT
            found.append(AttentionCall(op, _by_head(query), _by_head(key), _by_head(op.parts[1])))
    return found


def _scores(trace: Trace, op: TracedOp) -> TracedOp | None:
    """The product of queries and keys whose softmax is the first factor of ``op``, or None if that is no softmax."""
    weights = op.parts[0]
    if not weights.requires_grad or weights.shape[-1] != op.parts[1].shape[-2]:
        return None
    shares = weights.detach().float()
    # Some models give a part of each row to an attention sink, so that a row may sum to less than 1.
    if bool((shares < 0).any()) or bool((shares.sum(dim=-1) > 1.01).any()):
        return None
    products = [source for source in trace.sources(weights) if source.kind == MIX and len(source.parts) == 2]
    return products[-1] if products else None


def _by_head(part: Tensor) -> Tensor:
    return part.reshape(-1, *part.shape[-2:])


def find_heads(trace: Trace) -> tuple[Head, ...]:
    """The heads of every attention; none if the query or key of any is not the output of one parameter matmul."""
    found: list[Head] = []
    for number, call in enumerate(attention_calls(trace)):
        layer, output = call.layer(number), _output(trace, call)
        before = output is not None and _is_read_in_block(trace, output[0])
        own_norm = _norm_of_output(trace, output[0]) if output else ""
        for index in range(call.heads):
            query = _part(trace, call.query, index)
            key = _part(trace, call.key, index * len(call.key) // call.heads)
            if query is None or key is None:
                return ()
            value = _part(trace, call.value, index * len(call.value) // call.heads) if output else None
            if output is None or value is None:
                found.append(Head(layer, index, query, key))
            else:
                op, columns = output
                out, of_head, inputs = op.projection, columns[index], op.inputs.shape[1]
                found.append(Head(layer, index, query, key, value, out, of_head, inputs, before, own_norm))
    return tuple(found)


def _is_read_in_block(trace: Trace, op: TracedOp) -> bool:
    """Whether a matmul of the same block reads the output of ``op``, directly or behind norms of the block."""
    waiting = [op]
    while waiting:
        readers = [reader for reader in trace.readers(waiting.pop()) if reader.block == op.block]
        if any(reader.kind == LINEAR for reader in readers):
            return True
        waiting += [reader for reader in readers if reader.kind == NORM]
    return False


def _norm_of_output(trace: Trace, op: TracedOp) -> str:
    """The norm of the same block that reads the output of ``op`` and that no matmul reads, only further norms."""
    norms = [reader for reader in trace.readers(op) if reader.kind == NORM and reader.block == op.block]
    own = (norm.module for norm in norms if {reader.kind for reader in trace.readers(norm)} == {NORM})
    return next(own, "")


def find_attentions(trace: Trace) -> tuple[AttentionLayer, ...]:
    """The attention layers whose output projection reads the values of all heads in order, and runs once in a pass."""
    found: list[AttentionLayer] = []
    for number, call in enumerate(attention_calls(trace)):
        output = _output(trace, call)
        if output is None:
            continue
        op, columns = output
        in_order = [column for of_head in columns for column in of_head] == list(range(op.inputs.shape[1]))
        one_row = op.input.dim() != 3 or op.input.shape[0] == 1
        if op.projection.whole and not op.projection.channels_first and in_order and one_row:
            found.append(AttentionLayer(call.layer(number), op.module, call.heads, call.value.shape[-1]))
    runs = Counter(attention.out for attention in found)
    return tuple(attention for attention in found if runs[attention.out] == 1)


def _output(trace: Trace, call: AttentionCall) -> tuple[TracedOp, list[tuple[int, ...]]] | None:
    """The matmul that reads the values of an attention, and the columns of its input that belong to each head.

    A gate between the two changes the slope of a value but not its column: the derivative of the sum of all columns,
    each multiplied by its number, is the slope times that number.
    """
    op = next((reader for reader in trace.readers(call.op) if reader.kind == LINEAR), None)
    if op is None or op.inputs.shape[1] != call.heads * call.value.shape[-1]:
        return None
    row = op.inputs[len(op.inputs) // 2]
    slopes = _gradient(row.sum(), call.op.leaf)
    numbered = _gradient((row * torch.arange(1, len(row) + 1).to(row)).sum(), call.op.leaf)
    if slopes is None or numbered is None:
        return None
    read = _by_head(slopes) != 0
    if int(read.sum()) != len(row):
        return None
    columns = (_by_head(numbered) / _by_head(slopes)).round().long() - 1  # [head, token, dimension]
    return op, [tuple(of_head[mask].tolist()) for of_head, mask in zip(columns, read, strict=True)]


def _gradient(scalar: Tensor, leaf: Tensor) -> Tensor | None:
    (gradient,) = torch.autograd.grad(scalar, leaf, retain_graph=True, allow_unused=True)
    return gradient


def _part(trace: Trace, parts: Tensor, head: int) -> HeadPart | None:
    """The matmul outputs that one head of ``parts`` [head, token, dimension] is made of; None if of several matmuls."""
    own_norm = ""
    sources = trace.gradients(_random_sum(parts[head], seed=0), parts)
    while len(sources) == 1 and next(iter(sources)).kind not in (LINEAR, MIX):
        ((norm, gradient),) = sources.items()  # a norm of queries or keys
        own_norm = norm.module
        tokens, features = gradient.any(dim=1).nonzero().flatten(), gradient.any(dim=0).nonzero().flatten()
        sources = trace.gradients(_random_sum(norm.inputs[tokens][:, features], seed=1), norm.inputs)
    if len(sources) != 1:
        return None
    ((op, gradient),) = sources.items()
    if op.kind != LINEAR:
        return None
    rows = tuple(gradient.any(dim=0).nonzero().flatten().tolist())
    if len(rows) != parts.shape[-1]:  # a feature that is clipped at all tokens, say, of which nothing is known
        return None
    return HeadPart(op.projection, rows, input_norm(trace, op), op.inputs.shape[1], own_norm)


def _random_sum(x: Tensor, seed: int) -> Tensor:
    """The sum of all entries with random weights: rotary positions could make a plain sum cancel."""
    return (x * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)).sum()
