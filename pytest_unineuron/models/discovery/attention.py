"""Attention heads, found in a trace: which rows and columns of which projections are whose."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.dataflow import InputNorm, input_norm
from pytest_unineuron.models.discovery.graph import LINEAR, MIX, Trace, TracedOp, projection_of
from pytest_unineuron.models.discovery.layout import Projection  # noqa: TC001 - its type is read when an anatomy is revived

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HeadPart:
    """Where one projection of one head lives: ``rows`` of the output of ``of``, and what it reads.

    ``width`` is the number of features that the projection reads.
    """

    projection: Projection
    rows: tuple[int, ...]
    input_norm: InputNorm
    width: int


@dataclass(frozen=True)
class Head:
    """The projections of one attention head. Heads that share a key and a value have the same parts.

    ``value`` is None and ``columns`` empty where what the output projection ``out`` reads is not the heads' values
    one by one; it reads ``inputs`` of them.
    """

    layer: int
    index: int
    query: HeadPart
    key: HeadPart
    value: HeadPart | None = None
    out: Projection | None = None
    columns: tuple[int, ...] = ()
    inputs: int = 0


@dataclass(frozen=True)
class Attention:
    """One attention layer: ``out`` is its output projection, which reads ``heads`` times ``dimension`` values."""

    layer: int
    out: str
    heads: int
    dimension: int


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One attention as it ran: query, key and value are [head, token, dimension], keys perhaps fewer heads.

    ``op`` made what the heads return.
    """

    op: TracedOp
    query: Tensor
    key: Tensor
    value: Tensor

    @property
    def heads(self) -> int:
        """Number of query heads."""
        return len(self.query)


def attention_calls(trace: Trace) -> list[AttentionCall]:
    """Every attention in a trace: a fused one, or rows of shares times values."""
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
    """The product whose softmax ``op`` multiplies values by, if that is what it does."""
    weights = op.parts[0]
    if not weights.requires_grad or weights.shape[-1] != op.parts[1].shape[-2]:
        return None
    shares = weights.detach().float()  # some attention leaves a part of each row to a sink
    if bool((shares < 0).any()) or bool((shares.sum(dim=-1) > 1.01).any()):
        return None
    made_of = [upstream for upstream in trace.reached(weights) if upstream.kind == MIX and len(upstream.parts) == 2]
    return made_of[-1] if made_of else None


def _by_head(part: Tensor) -> Tensor:
    return part.reshape(-1, *part.shape[-2:])


def find_heads(trace: Trace) -> tuple[Head, ...]:
    """The heads of every attention whose query and key come straight from parameter matmuls."""
    found: list[Head] = []
    for number, mixing in enumerate(attention_calls(trace)):
        layer = _layer(mixing.op, number)
        output = _output(trace, mixing)
        for index in range(mixing.heads):
            query = _part(trace, mixing.query, index)
            key = _part(trace, mixing.key, index * len(mixing.key) // mixing.heads)
            if query is None or key is None:
                return ()
            value = _part(trace, mixing.value, index * len(mixing.value) // mixing.heads) if output else None
            if output is None or value is None:
                found.append(Head(layer, index, query, key))
            else:
                op, columns = output
                found.append(Head(layer, index, query, key, value, projection_of(op), columns[index], op.rows.shape[1]))
    return tuple(found)


def find_attentions(trace: Trace) -> tuple[Attention, ...]:
    """The output projections that read the values of one attention, head after head, once in a pass."""
    found: list[Attention] = []
    for number, mixing in enumerate(attention_calls(trace)):
        output = _output(trace, mixing)
        if output is None:
            continue
        op, columns = output
        inputs, dimension = op.rows.shape[1], mixing.value.shape[-1]
        straight = [column for of_head in columns for column in of_head] == list(range(inputs))
        in_order = op.input.dim() != 3 or op.input.shape[0] == 1
        if op.whole and not op.channels_first and straight and in_order:
            found.append(Attention(_layer(mixing.op, number), op.module, mixing.heads, dimension))
    ran = Counter(attention.out for attention in found)
    return tuple(attention for attention in found if ran[attention.out] == 1)


def _layer(op: TracedOp, number: int) -> int:
    digits = op.block.rpartition(".")[2]
    return int(digits) if digits else number


def _output(trace: Trace, mixing: AttentionCall) -> tuple[TracedOp, list[tuple[int, ...]]] | None:
    """The matmul that reads what an attention returns, and which of its columns are whose, by head.

    Where the answer is multiplied by a gate on its way, the slope differs but the place does not.
    """
    for op in trace.read_by(mixing.op):
        x = op.rows
        if op.kind != LINEAR:
            continue
        token = len(x) // 2
        if x.shape[1] != mixing.heads * mixing.value.shape[-1]:
            return None
        leaf = mixing.op.leaf
        slopes = _gradient(x[token].sum(), leaf)
        places = _gradient((x[token] * torch.arange(1, x.shape[1] + 1).to(x)).sum(), leaf)
        if slopes is None or places is None:
            return None
        there = _by_head(slopes) != 0
        if int(there.sum()) != x.shape[1]:
            return None
        columns = (_by_head(places) / _by_head(slopes)).round().long() - 1  # [head, token, dimension]
        return op, [tuple(of[mask].tolist()) for of, mask in zip(columns, there, strict=True)]
    return None


def _gradient(scalar: Tensor, leaf: Tensor) -> Tensor | None:
    (found,) = torch.autograd.grad(scalar, leaf, retain_graph=True, allow_unused=True)
    return found


def _part(trace: Trace, parts: Tensor, head: int) -> HeadPart | None:
    """The rows of the one matmul that one head's part [token, dimension] is made of."""
    part = parts[head]
    # Random weights, since rotary positions could let a plain sum cancel.
    weights = torch.rand(part.shape, generator=torch.Generator().manual_seed(0)).to(part)
    depends = trace.depends((part * weights).sum(), parts)
    while len(depends) == 1 and next(iter(depends)).kind not in (LINEAR, MIX):
        op = next(iter(depends))  # a norm on queries or keys
        touched = depends[op].any(dim=1).nonzero().flatten(), depends[op].any(dim=0).nonzero().flatten()
        inside = op.rows[touched[0]][:, touched[1]]
        random = torch.rand(inside.shape, generator=torch.Generator().manual_seed(1)).to(inside)
        depends = trace.depends((inside * random).sum(), op.rows)
    if len(depends) != 1:
        return None
    ((op, gradient),) = depends.items()
    if op.kind != LINEAR:
        return None
    rows = tuple(gradient.any(dim=0).nonzero().flatten().tolist())
    return HeadPart(projection_of(op), rows, input_norm(trace, op), op.rows.shape[1])
