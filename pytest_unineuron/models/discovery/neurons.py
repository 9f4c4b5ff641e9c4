"""The MLP neurons of a model of any architecture, found in the trace of one forward pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.activation_functions import curvature, name_activation
from pytest_unineuron.models.discovery.candidates import Candidate, Factor, Rejected, find_candidate
from pytest_unineuron.models.discovery.dataflow import input_norm, reading_norms, residual_certainty
from pytest_unineuron.models.discovery.layout import (
    PADDED,
    POOLED,
    SEQUENCE_FIRST,
    TOKENS,
    NeuronLayer,
    NeuronLayout,
    Projection,
    ProjectionSlice,
)
from pytest_unineuron.models.discovery.similar_layers import path_pattern, with_similar_layers

if TYPE_CHECKING:
    from torch import nn

    from pytest_unineuron.models.discovery.graph import Trace, TracedOp


def find_neurons(
    trace: Trace, model: nn.Module, preferred: frozenset[str] = frozenset(), only: str = ""
) -> NeuronLayout:
    """The neuron layers in a trace of ``model``. Raises NeuronsNotFound with the reasons why matmuls were rejected.

    Several of transformers' activation functions are one function under two names; a name that is ``preferred``, such
    as one in the model's configuration, wins. ``only`` is an fnmatch pattern of paths: then the inputs of the matmuls
    with such a path are the neurons, wherever these matmuls write.
    """
    matmuls = [op for op in trace.matmuls if not only or _is_named(op.projection, only)]
    candidates, rejected = _find_candidates(trace, matmuls)
    chosen = candidates if only else _choose(trace, candidates, rejected)
    if not chosen:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in rejected.most_common()) or "no matmul ran"
        if only:
            paths = list(dict.fromkeys(path_pattern(op.module) for op in trace.matmuls))
            reasons = reasons if matmuls else f"there are {', '.join(paths[:8])}{' …' if len(paths) > 8 else ''}"
            raise NeuronsNotFound(f"no MLP neurons at {only!r} ({reasons})")
        raise NeuronsNotFound(f"no MLP neurons: no matmul's input is made unit by unit ({reasons})")
    layers = with_similar_layers([_layer(trace, model, candidate, preferred) for candidate in chosen], trace, model)
    return NeuronLayout(tuple(layer for layer in layers if not only or _is_named(layer.down, only)))


def _is_named(projection: Projection, only: str) -> bool:
    return fnmatchcase(projection.module, only) or fnmatchcase(projection.parameter, only)


def _find_candidates(trace: Trace, matmuls: list[TracedOp]) -> tuple[list[Candidate], Counter[str]]:
    """The candidates among some matmuls, and how many were rejected for each reason.

    Of experts in one tensor, the one with most tokens stands for all.
    """
    rejected: Counter[str] = Counter()
    found: list[Candidate] = []
    taken: set[tuple[str, int]] = set()
    for op in sorted(matmuls, key=lambda op: -len(op.inputs)):
        shared = (op.projection.parameter, op.call) if op.projection.parts > 1 else None
        if shared in taken:
            continue
        try:
            found.append(find_candidate(trace, op))
            if shared:
                taken.add(shared)
        except Rejected as reason:
            rejected[str(reason)] += 1
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError):  # a tensor was overwritten, or a function has no backward
            rejected["cannot be differentiated"] += 1
    return found, rejected


def _choose(trace: Trace, candidates: list[Candidate], rejected: Counter[str]) -> list[Candidate]:
    """The candidates of every stack that most certainly write to the residual stream.

    A candidate outside of any stack, such as the head of a masked language model, has to do so with full certainty.
    """
    widths = Counter(op.inputs.shape[1] for op in trace.matmuls)
    common = widths.most_common(1)[0][0] if widths else 0
    stacks: dict[str, list[tuple[int, Candidate]]] = defaultdict(list)
    for candidate in candidates:
        certainty = residual_certainty(trace, candidate.op, candidate.factors[0].op.inputs.shape[1], common)
        stacks[_stack(candidate.op)].append((certainty, candidate))
    chosen = []
    for stack, ranked in stacks.items():
        least = max(1 if stack else 3, *(certainty for certainty, _ in ranked))
        chosen += [candidate for certainty, candidate in ranked if certainty >= least]
        rejected["does not write to the residual stream"] += sum(certainty < least for certainty, _ in ranked)
    order = {op: number for number, op in enumerate(trace.ops)}
    return sorted(chosen, key=lambda candidate: order[candidate.op])


def _stack(op: TracedOp) -> str:
    """The module list that the block of an operation is in."""
    return op.block.rpartition(".")[0]


def _layer(trace: Trace, model: nn.Module, candidate: Candidate, preferred: frozenset[str]) -> NeuronLayer:
    op, units = candidate.op, candidate.units.shape[1]
    activation, factors = _ordered_factors(candidate, preferred)
    norm = input_norm(trace, factors[0].op)
    adapted = any(factor.summands for factor in factors)
    digits = op.block.rpartition(".")[2]
    return NeuronLayer(
        stack=_stack(op),
        number=int(digits) if digits else 0,
        width=units,
        input_width=factors[0].op.inputs.shape[1],
        output_width=op.width,
        down=op.projection,
        up=tuple(map(_slice, factors)),
        norm=norm.norm,
        obstacle="adapters are added to what it reads" if adapted else norm.obstacle,
        activation=activation,
        call=op.call,
        inner_norm=candidate.inner_norm,
        reading_norms=reading_norms(trace, op, model),
        routing_weighted=candidate.routing_weighted,
        row_kind=_row_kind(op, trace.tokens),
    )


def _ordered_factors(candidate: Candidate, preferred: frozenset[str]) -> tuple[str, list[Factor]]:
    """The name of the activation function, and the factors with the one that it acts on first.

    Where no name fits, the function acts on the factor with the larger second derivative.
    """
    units, factors = candidate.units, candidate.factors
    values = [factor.values(units.shape[1]) for factor in factors]
    activation, first = name_activation(units.detach(), values, preferred, routing_weighted=candidate.routing_weighted)
    if not activation and len(factors) == 2:
        bends = [curvature(units, factor.op.leaf, factor.outputs(units.shape[1])) for factor in factors]
        first = bends.index(max(bends))
    return activation, [factors[first], *(factor for i, factor in enumerate(factors) if i != first)]


def _slice(factor: Factor) -> ProjectionSlice:
    op, summands = factor.op, tuple(map(_slice, factor.summands))
    return ProjectionSlice(op.projection, factor.stride, factor.offset, op.call, summands, factor.scale)


def _row_kind(op: TracedOp, tokens: int) -> str:
    """The kind of rows that a matmul reads, seen on one text of ``tokens`` tokens.

    An expert reads fewer rows; some models pad the text to a round number of positions.
    """
    shape = op.input.shape
    if len(shape) == 3 and shape[:2] == (tokens, 1):
        return SEQUENCE_FIRST
    if len(shape) == 3 and shape[0] == 1 and shape[1] != tokens:
        return POOLED if shape[1] < tokens else PADDED
    return TOKENS
