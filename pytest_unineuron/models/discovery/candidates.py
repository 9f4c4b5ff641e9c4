"""Candidates for neuron layers: parameter matmuls whose input is made unit by unit.

A layer of neurons is the input of a parameter matmul whose every coordinate (token, unit) depends on one coordinate
(plain) or two coordinates (gated) of the outputs of other parameter matmuls at the same token, not linearly, and on
nothing else. Attention mixes tokens, low-rank bottlenecks are linear, and whatever reads the residual stream depends
on all of it: these three fail the definition under any name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.graph import EMBED, LINEAR, NORM, Trace, TracedOp

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = 9
"""The number of units of a candidate that are examined: enough for its layout and for a few dead units."""
SLOPE_TOLERANCE = 1e-4
"""Slopes that differ by less than this, relative to the largest, are equal."""


class Rejected(Exception):  # noqa: N818 - the reason reads as a sentence about the matmul
    """The reason why the input of a matmul is no layer of neurons."""


@dataclass(eq=False)
class Factor:
    """One output of ``op`` for each unit: unit j reads output ``stride * j + offset``.

    ``slopes`` are the derivatives of the examined units by their outputs, [token, column]. ``summands`` are added to
    the factor, each multiplied by its ``scale``.
    """

    op: TracedOp
    stride: int
    offset: int
    slopes: Tensor
    summands: list[Factor] = field(default_factory=list)
    scale: float = 1.0

    def outputs(self, units: int) -> slice:
        """The indices of the outputs that the first ``units`` units read."""
        return slice(self.offset, self.offset + self.stride * units, self.stride)

    def values(self, units: int) -> Tensor:
        """The factor of every unit, [token, unit]."""
        added = sum(summand.scale * summand.values(units) for summand in self.summands)
        return self.op.outputs[:, self.outputs(units)] + added


@dataclass(eq=False)
class Candidate:
    """A matmul ``op`` that reads neurons, and the factors that these are made of.

    ``units`` are the neurons, [token, unit], before the norm ``inner_norm`` if there is one. ``routing_weighted`` says
    that the units of a token are all multiplied by one number.
    """

    op: TracedOp
    units: Tensor
    factors: list[Factor]
    inner_norm: str
    routing_weighted: bool


def find_candidate(trace: Trace, op: TracedOp) -> Candidate:
    """The neurons that a matmul reads. Raises Rejected if its input is not made unit by unit."""
    x = op.inputs
    if not x.requires_grad:
        raise Rejected("reads no matmul")
    if x.shape[1] < 2 or not len(x):
        raise Rejected("is too narrow")
    units, inner_norm = _before_norm(trace, x)
    factors, gates = _factors(trace, units)
    _reject_linear(factors, routing_weighted=bool(gates))
    factors = _sum_proportional(factors)
    if len(factors) > 2:
        raise Rejected("is made of more than two factors")
    if len(factors) == 2 and not _same_input(*factors):
        raise Rejected("multiplies two readings of different things")
    return Candidate(op, units, factors, inner_norm, bool(gates))


def _before_norm(trace: Trace, x: Tensor) -> tuple[Tensor, str]:
    """The units [token, unit] before a norm that is applied to them, and the path of that norm, empty if there is none.

    Raises Rejected unless they depend on the outputs of matmuls alone.
    """
    inner_norm = ""
    sources = trace.gradients(_strongest(x), x)
    if len(sources) == 1 and (norm := next(iter(sources))).kind == NORM:
        if sources[norm].count_nonzero() != 1 or norm.inputs.shape != x.shape:
            raise Rejected("reads a norm")
        x, inner_norm = norm.inputs, norm.module
        sources = trace.gradients(_strongest(x), x)
    if not sources:
        raise Rejected("depends on nothing")
    for source in sources:
        if source.kind != LINEAR:
            kind = NORM if inner_norm and source.kind == EMBED else source.kind
            raise Rejected(f"reads {'an' if kind[0] in 'aeiou' else 'a'} {kind}")
    return x, inner_norm


def _strongest(x: Tensor) -> Tensor:
    """The largest entry, since a unit that is off depends on nothing."""
    return x.flatten()[int(x.detach().abs().argmax())]


def _factors(trace: Trace, x: Tensor) -> tuple[list[Factor], list[TracedOp]]:
    """The factors that units [token, unit] are made of, and the matmuls that multiply all units of a token alike.

    Such a gate is the routing weight of an expert.
    """
    units = x.shape[1]
    factors, gates = [], []
    for source, gradients in _gradients_by_column(trace, x).items():
        outputs = {column: gradient.any(dim=0).nonzero().flatten().tolist() for column, gradient in gradients.items()}
        if source.width < units and len(outputs) > 2 and len(set(map(tuple, outputs.values()))) == 1:
            gates.append(source)
            continue
        if max(map(len, outputs.values())) > 2:
            raise Rejected("depends on many coordinates")
        factors += _factors_of(source, outputs, gradients)
    if not factors:
        raise Rejected("is the same for all units")
    return factors, gates


def _gradients_by_column(trace: Trace, x: Tensor) -> dict[TracedOp, dict[int, Tensor]]:
    """The gradient of each examined column of x [token, unit] by the outputs of its sources, [token, feature].

    Raises Rejected if a source is no matmul, or if a unit depends on another token than its own.
    """
    tokens, units = x.shape
    found: dict[TracedOp, dict[int, Tensor]] = defaultdict(dict)
    for column in sorted({round(i * (units - 1) / (COLUMNS - 1)) for i in range(COLUMNS)} | {1 % units}):
        token = int(x[:, column].detach().abs().argmax())
        for source, gradient in trace.gradients(x[token, column], x).items():
            if source.kind != LINEAR:
                raise Rejected(f"reads a {source.kind}")
            if len(gradient) != tokens or int(gradient.any(dim=1).sum()) != 1 or not gradient[token].any():
                raise Rejected("mixes tokens")
        for source, gradient in trace.gradients(x[:, column].sum(), x).items():
            if source.kind != LINEAR or len(gradient) != tokens:
                raise Rejected("mixes tokens")
            found[source][column] = gradient
    return found


def _factors_of(op: TracedOp, outputs: dict[int, list[int]], gradients: dict[int, Tensor]) -> list[Factor]:
    """The straight lines ``output = stride * column + offset`` through the outputs that each column depends on.

    A column that is dead at every token depends on fewer outputs than the others and is left out.
    """
    count = max(map(len, outputs.values()))
    alive = {column: found for column, found in sorted(outputs.items()) if len(found) == count}
    factors = []
    for position in range(count):
        points = [(column, found[position]) for column, found in alive.items()]
        (c0, o0), (c1, o1) = points[0], points[-1]
        stride, rest = divmod(o1 - o0, c1 - c0) if c1 != c0 else (0, 0)
        if rest or stride <= 0 or any(output != o0 + stride * (column - c0) for column, output in points):
            raise Rejected("has no regular layout")
        slopes = torch.stack([gradients[column][:, output] for column, output in points], dim=1)  # [token, column]
        factors.append(Factor(op, stride, o0 - stride * c0, slopes))
    return factors


def _reject_linear(factors: list[Factor], *, routing_weighted: bool) -> None:
    """Raise Rejected unless slopes differ between tokens, beyond a factor that all units of a token share."""
    for factor in factors:
        slopes = factor.slopes.double()
        if routing_weighted:
            slopes = slopes / slopes.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        spread = slopes.amax(dim=0) - slopes.amin(dim=0)
        if bool((spread > SLOPE_TOLERANCE * slopes.abs().amax()).any()):
            return
    raise Rejected("is linear")


def _sum_proportional(factors: list[Factor]) -> list[Factor]:
    """The factors, where those whose slopes are proportional at every token become summands of one factor."""
    groups: list[Factor] = []
    for factor in factors:
        main = next((f for f in groups if f.op is not factor.op and _proportional(f.slopes, factor.slopes)), None)
        if main is None:
            groups.append(factor)
            continue
        wide, narrow = sorted((main, factor), key=lambda f: -f.op.inputs.shape[1])
        groups[groups.index(main)] = wide
        wide.summands = [*main.summands, *factor.summands, narrow]
        narrow.summands = []
        for summand in wide.summands:
            summand.scale = _ratio(summand.slopes, wide.slopes)
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
    a, b = one.op.inputs, two.op.inputs
    return one.op is two.op or (a.shape == b.shape and torch.equal(a, b))
