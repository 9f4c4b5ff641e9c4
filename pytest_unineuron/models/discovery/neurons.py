"""Finding the MLP neurons of any model by what they do.

A neuron layer is the input of a parameter matmul whose every coordinate (token, unit) depends, non-linearly,
on one coordinate (plain) or two coordinates (gated) of the outputs of other parameter matmuls at the same
token, and on nothing else. Attention outputs mix tokens, low-rank bottlenecks are linear, and what reads the
residual stream depends on everything: all three fail the definition, whatever they are called.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.activation_functions import curvature, name_activation
from pytest_unineuron.models.discovery.dataflow import input_norm, reading_norms, residual_certainty
from pytest_unineuron.models.discovery.graph import EMBED, LINEAR, NORM, Trace, TracedOp, projection_of
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
    from torch import Tensor, nn

COLUMNS = 9
"""How many units of a candidate are looked at: enough for the row map and for a few dead units."""
ALIKE = 1e-4
"""Slopes that differ by less than this, relative to the largest, are the same."""


class Rejected(Exception):  # noqa: N818 - it reads as the sentence it is
    """Why the input of a matmul is no layer of neurons."""


@dataclass(eq=False)
class Factor:
    """One coordinate per unit of the output of ``op``; ``slopes`` [token, column] are by how much a unit moves.

    ``summands`` are added to the factor, each ``scale`` times.
    """

    op: TracedOp
    stride: int
    offset: int
    slopes: Tensor
    summands: list[Factor] = field(default_factory=list)
    scale: float = 1.0

    def rows(self, units: int) -> slice:
        """The rows of so many units in what ``op`` returns."""
        return slice(self.offset, self.offset + self.stride * units, self.stride)

    def values(self, units: int) -> Tensor:
        """The factor of every unit, [token, unit]."""
        return self.op.out[:, self.rows(units)] + sum(other.scale * other.values(units) for other in self.summands)


@dataclass(eq=False)
class Candidate:
    """A matmul that reads neurons, and what they are made of. ``rows`` are the units, before any norm on them."""

    op: TracedOp
    rows: Tensor
    factors: list[Factor]
    inner_norm: str
    routing_weighted: bool


def find_neurons(trace: Trace, model: nn.Module, named: frozenset[str] = frozenset(), only: str = "") -> NeuronLayout:
    """The neuron layers in a trace of ``model``. Raises NeuronsNotFound with the reason for every rejected matmul.

    Several of transformers' activations are one function under two names; ``named`` holds the words of the
    model's configuration, and the name it uses wins. ``only`` is a pattern of paths, as in fnmatch: then what the
    matmuls of that name read is taken, wherever they write, and has to be made of units like any neurons.
    """
    rejected: Counter[str] = Counter()
    found: list[Candidate] = []
    asked = [op for op in trace.linear() if not only or _is_called(projection_of(op), only)]
    taken: set[tuple[str, int]] = set()
    # Of the experts in one tensor, that of most tokens speaks for all.
    for op in sorted(asked, key=lambda op: -len(op.rows)):
        shared = (op.operand.parameter, op.call) if op.operand and op.operand.parts > 1 else None
        if shared in taken:
            continue
        try:
            found.append(_candidate(trace, op))
            if shared:
                taken.add(shared)
        except Rejected as reason:
            rejected[str(reason)] += 1
        except (RuntimeError, AssertionError):  # autograd refuses: something was overwritten, or has no backward
            rejected["cannot be differentiated"] += 1
    chosen = found if only else _chosen(trace, found, rejected)
    if not chosen:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in rejected.most_common()) or "no matmul ran"
        if only:
            paths = list(dict.fromkeys(path_pattern(op.module) for op in trace.linear()))
            reasons = reasons if asked else f"there are {', '.join(paths[:8])}{' …' if len(paths) > 8 else ''}"
            raise NeuronsNotFound(f"no MLP neurons at {only!r} ({reasons})")
        raise NeuronsNotFound(f"no MLP neurons: no matmul's input is made unit by unit ({reasons})")
    layout = with_similar_layers([_site(trace, model, candidate, named) for candidate in chosen], trace, model)
    return NeuronLayout(tuple(site for site in layout.layers if not only or _is_called(site.down, only)))


def _is_called(down: Projection, only: str) -> bool:
    return fnmatchcase(down.module, only) or fnmatchcase(down.parameter, only)


def _chosen(trace: Trace, found: list[Candidate], rejected: Counter[str]) -> list[Candidate]:
    """Of every stack those that write to the residual stream, as well as that can be told.

    What stands outside any stack, such as the head of a masked language model, has to be seen doing so.
    """
    widths = Counter(op.rows.shape[1] for op in trace.linear())
    common = widths.most_common(1)[0][0] if widths else 0
    stacks: dict[str, list[tuple[int, Candidate]]] = defaultdict(list)
    for candidate in found:
        sure = residual_certainty(trace, candidate.op, candidate.factors[0].op.rows.shape[1], common)
        stacks[stack_of(candidate.op.block)].append((sure, candidate))
    chosen = []
    for stack, ranked in stacks.items():
        least = max(1 if stack else 3, *(sure for sure, _ in ranked))
        chosen += [candidate for sure, candidate in ranked if sure >= least]
        rejected["does not write to the residual stream"] += sum(sure < least for sure, _ in ranked)
    order = {id(op): number for number, op in enumerate(trace.ops)}
    return sorted(chosen, key=lambda candidate: order[id(candidate.op)])


def stack_of(block: str) -> str:
    """The list that a numbered block is in."""
    return block.rpartition(".")[0]


def _candidate(trace: Trace, op: TracedOp) -> Candidate:
    x = op.rows  # [token, unit]
    if not x.requires_grad:
        raise Rejected("reads no matmul")
    tokens, units = x.shape
    if units < 2 or not tokens:
        raise Rejected("is too narrow")
    inner_norm = ""
    depends = trace.depends(_strongest(x), x)
    if len(depends) == 1 and (only := next(iter(depends))).kind == NORM:
        if depends[only].count_nonzero() != 1 or only.rows.shape != x.shape:
            raise Rejected("reads a norm")
        x, inner_norm = only.rows, only.module
        depends = trace.depends(_strongest(x), x)
    if not depends:
        raise Rejected("depends on nothing")
    for upstream in depends:
        if upstream.kind != LINEAR:
            kind = NORM if inner_norm and upstream.kind == EMBED else upstream.kind
            raise Rejected(f"reads {'an' if kind[0] in 'aeiou' else 'a'} {kind}")
    factors, gates = _factors(trace, x)
    _reject_linear(factors, gates)
    factors = _grouped(factors)
    if len(factors) > 2:
        raise Rejected("is made of more than two factors")
    if len(factors) == 2 and not _same_input(*factors):
        raise Rejected("multiplies two readings of different things")
    return Candidate(op, x, factors, inner_norm, bool(gates))


def _strongest(x: Tensor) -> Tensor:
    """The largest entry: a unit that is off depends on nothing."""
    return x.flatten()[int(x.detach().abs().argmax())]


def _columns(units: int) -> list[int]:
    return sorted({round(i * (units - 1) / (COLUMNS - 1)) for i in range(COLUMNS)} | {1 % units})


def _factors(trace: Trace, x: Tensor) -> tuple[list[Factor], list[TracedOp]]:
    """What the units are made of, and what multiplies all units of a token alike (the weight of an expert)."""
    tokens, units = x.shape
    columns = _columns(units)
    seen: dict[TracedOp, dict[int, Tensor]] = defaultdict(dict)  # gradients [token, feature] by column
    for column in columns:
        token = int(x[:, column].detach().abs().argmax())
        for upstream, gradient in trace.depends(x[token, column], x).items():
            if upstream.kind != LINEAR:
                raise Rejected(f"reads a {upstream.kind}")
            if len(gradient) != tokens or int(gradient.any(dim=1).sum()) != 1 or not gradient[token].any():
                raise Rejected("mixes tokens")
        for upstream, gradient in trace.depends(x[:, column].sum(), x).items():
            if upstream.kind != LINEAR or len(gradient) != tokens:
                raise Rejected("mixes tokens")
            seen[upstream][column] = gradient
    gates, factors = [], []
    for upstream, gradients in seen.items():
        rows = {column: gradient.any(dim=0).nonzero().flatten().tolist() for column, gradient in gradients.items()}
        if upstream.width < units and len(rows) > 2 and len(set(map(tuple, rows.values()))) == 1:
            gates.append(upstream)
            continue
        if max(map(len, rows.values())) > 2:
            raise Rejected("depends on many coordinates")
        factors += _factors_of(upstream, rows, gradients)
    if not factors:
        raise Rejected("is the same for all units")
    return factors, gates


def _factors_of(op: TracedOp, rows: dict[int, list[int]], gradients: dict[int, Tensor]) -> list[Factor]:
    """The straight lines ``row = stride * column + offset`` through the coordinates that were seen.

    A column that is dead at every token shows fewer coordinates than the others and is left out.
    """
    count = max(map(len, rows.values()))
    alive = {column: found for column, found in sorted(rows.items()) if len(found) == count}
    factors = []
    for position in range(count):
        points = [(column, found[position]) for column, found in alive.items()]
        (c0, r0), (c1, r1) = points[0], points[-1]
        stride, rest = divmod(r1 - r0, c1 - c0) if c1 != c0 else (0, 0)
        if rest or stride <= 0 or any(row != r0 + stride * (column - c0) for column, row in points):
            raise Rejected("has no regular layout")
        slopes = torch.stack([gradients[column][:, row] for column, row in points], dim=1)
        factors.append(Factor(op, stride, r0 - stride * c0, slopes))
    return factors


def _reject_linear(factors: list[Factor], gates: list[TracedOp]) -> None:
    """Slopes of neurons differ between tokens, beyond what multiplies all units of a token alike."""
    for factor in factors:
        slopes = factor.slopes.double()
        if gates:  # the share of each column in the token's slopes
            slopes = slopes / slopes.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        spread = slopes.amax(dim=0) - slopes.amin(dim=0)
        if bool((spread > ALIKE * slopes.abs().amax()).any()):
            return
    raise Rejected("is linear")


def _grouped(factors: list[Factor]) -> list[Factor]:
    """Factors that move a unit in the same proportion at every token are summands of one."""
    groups: list[Factor] = []
    for factor in factors:
        for main in groups:
            if main.op is not factor.op and _proportional(main.slopes, factor.slopes):
                wide, narrow = sorted((main, factor), key=lambda f: -f.op.rows.shape[1])
                groups[groups.index(main)] = wide
                wide.summands = [*main.summands, *factor.summands, narrow]
                narrow.summands = []
                for summand in wide.summands:
                    summand.scale = _ratio(summand.slopes, wide.slopes)
                break
        else:
            groups.append(factor)
    return groups


def _proportional(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.numel() < 2:
        return False
    a, b = a.double().flatten(), b.double().flatten()
    return bool((a * b).sum().abs() >= (1 - 1e-6) * a.norm() * b.norm())


def _ratio(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return round(float((a @ b) / (b @ b)), 6)


def _same_input(one: Factor, two: Factor) -> bool:
    return one.op is two.op or (one.op.rows.shape == two.op.rows.shape and torch.equal(one.op.rows, two.op.rows))


def _site(trace: Trace, model: nn.Module, candidate: Candidate, named: frozenset[str]) -> NeuronLayer:
    op, units = candidate.op, candidate.rows.shape[1]
    factors = candidate.factors
    values = [factor.values(units) for factor in factors]
    activation, first = name_activation(candidate.rows.detach(), values, named, scaled=candidate.routing_weighted)
    if not activation and len(factors) == 2:
        first = max((0, 1), key=lambda i: curvature(candidate.rows, factors[i].op.leaf, factors[i].rows(units)))
    main, *others = [factors[first], *(f for i, f in enumerate(factors) if i != first)]
    read = input_norm(trace, main.op)
    obstacle = "adapters are added to what it reads" if any(f.summands for f in factors) else read.obstacle
    digits = op.block.rpartition(".")[2]
    return NeuronLayer(
        stack=stack_of(op.block),
        number=int(digits) if digits else 0,
        width=units,
        input_width=main.op.rows.shape[1],
        output_width=op.width,
        down=projection_of(op),
        up=tuple(_rows(f) for f in (main, *others)),
        norm=read.norm,
        obstacle=obstacle,
        activation=activation,
        call=op.call,
        inner_norm=candidate.inner_norm,
        reading_norms=reading_norms(trace, op, model),
        routing_weighted=candidate.routing_weighted,
        row_kind=_meaning_of_rows(op, trace.tokens),
    )


def _rows(factor: Factor) -> ProjectionSlice:
    op = factor.op
    return ProjectionSlice(
        projection_of(op), factor.stride, factor.offset, op.call, tuple(map(_rows, factor.summands)), factor.scale
    )


def _meaning_of_rows(op: TracedOp, tokens: int) -> str:
    """What the rows are, from one text of ``tokens`` tokens: experts see fewer, some models pad to a round number."""
    shape = op.input.shape
    if len(shape) == 3 and shape[:2] == (tokens, 1):
        return SEQUENCE_FIRST
    if len(shape) == 3 and shape[0] == 1 and shape[1] != tokens:
        return POOLED if shape[1] < tokens else PADDED
    return TOKENS
