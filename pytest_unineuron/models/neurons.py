"""Finding the MLP neurons of any model by what they do.

A neuron layer is the input of a parameter matmul whose every coordinate (token, unit) depends, non-linearly,
on one coordinate (plain) or two coordinates (gated) of the outputs of other parameter matmuls at the same
token, and on nothing else. Attention outputs mix tokens, low-rank bottlenecks are linear, and what reads the
residual stream depends on everything: all three fail the definition, whatever they are called.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from transformers.activations import ACT2FN

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.trace import LINEAR, NORM, Op, Trace

if TYPE_CHECKING:
    from torch import Tensor, nn

COLUMNS = 9
"""How many units of a candidate are looked at: enough for the row map and for a few dead units."""
NAMED = 1e-3
"""An activation is named when it reproduces the traced values this well, relative to their size."""


@dataclass(frozen=True)
class Rows:
    """Which outputs of ``module`` the units read: unit j reads row ``stride * j + offset``."""

    module: str
    stride: int
    offset: int


@dataclass(frozen=True)
class Site:
    """One neuron layer. ``up`` has the pre-activation first; a gated layer has the other factor second.

    ``norm`` is the module whose output the layer reads, or empty. ``activation`` is its name in transformers,
    or empty if none reproduces it.
    """

    layer: int
    down: str
    up: tuple[Rows, ...]
    width: int
    norm: str
    activation: str

    @property
    def gated(self) -> bool:
        """Whether a unit is a product of two factors."""
        return len(self.up) == 2

    def __str__(self) -> str:
        kind = f"gated by {self.activation or '?'}" if self.gated else self.activation or "?"
        return f"layer {self.layer}: {self.width} neurons ({kind}) into {self.down}, reading {self.norm or 'no norm'}"


@dataclass(frozen=True)
class Plan:
    """Every neuron layer of a model, in the order in which they run."""

    sites: tuple[Site, ...]

    @property
    def neurons(self) -> int:
        """How many neurons there are in all."""
        return sum(site.width for site in self.sites)

    def __str__(self) -> str:
        return "\n".join(str(site) for site in self.sites)


def find(trace: Trace, named: frozenset[str] = frozenset()) -> Plan:
    """The neuron layers in a trace. Raises NeuronsNotFound with the reason for every rejected matmul.

    Several of transformers' activations are one function under two names; ``named`` holds the words of the
    model's configuration, and the name it uses wins.
    """
    widths = Counter(op.rows.shape[1] for op in trace.linear())
    common = widths.most_common(1)[0][0] if widths else 0  # the width of the residual stream
    sites: list[Site] = []
    rejected: Counter[str] = Counter()
    for op in trace.linear():
        reason, ups = _producers(trace, op)
        if not reason and op.width != common:
            reason = "does not write to the residual stream"
        if reason:
            rejected[reason] += 1
            continue
        numbers = re.findall(r"\d+", op.module)
        layer = int(numbers[0]) if numbers else len(sites)
        sites.append(_site(trace, op, ups, layer, named))
    if not sites:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in rejected.most_common())
        raise NeuronsNotFound(f"no MLP neurons: no matmul's input is made unit by unit ({reasons or 'no matmul ran'})")
    return Plan(tuple(sites))


def _producers(trace: Trace, op: Op) -> tuple[str, list[tuple[Op, Rows]]]:
    """Why ``op`` does not read neurons, or the matmuls its units come from with their row maps."""
    x = op.rows  # [token, unit]
    if not op.module or not x.requires_grad:
        return "reads no matmul", []
    tokens, units = x.shape
    columns = sorted({round(i * (units - 1) / (COLUMNS - 1)) for i in range(COLUMNS)} | {1 % units})
    supports: dict[Op, dict[int, list[int]]] = {}
    varies = False
    for column in columns:
        for upstream, gradient in trace.depends(x[tokens // 2, column]).items():  # gradient [token, feature]
            if upstream.kind != LINEAR:
                return f"reads a {upstream.kind}", []
            if len(gradient) != tokens or bool(gradient[torch.arange(tokens) != tokens // 2].any()):
                return "mixes tokens", []
        for upstream, gradient in trace.depends(x[:, column].sum()).items():
            if upstream.kind != LINEAR:
                return f"reads a {upstream.kind}", []
            rows = gradient.any(dim=0).nonzero().flatten().tolist()
            if len(rows) > 2:
                return "depends on many coordinates", []
            supports.setdefault(upstream, {})[column] = rows
            slopes = gradient[:, rows]
            varies |= bool((slopes.amax(dim=0) - slopes.amin(dim=0) > 1e-5 * slopes.abs().amax()).any())
    if not supports:
        return "depends on nothing", []
    if not varies:
        return "is linear", []
    found = [(up, rows) for up, seen in supports.items() for rows in _row_maps(up, seen)]
    if any(rows.stride == 0 for _, rows in found):
        return "has no regular layout", []
    if len(found) > 2 or (len(found) == 2 and not torch.equal(found[0][0].input, found[1][0].input)):
        return "is not one unit", []
    return "", found


def _row_maps(op: Op, seen: dict[int, list[int]]) -> list[Rows]:
    """The straight lines ``row = stride * column + offset`` through the coordinates that were seen.

    A column that is dead at every token shows fewer coordinates than the others and is left out.
    """
    count = max(len(rows) for rows in seen.values())
    alive = [(column, rows) for column, rows in sorted(seen.items()) if len(rows) == count]
    maps = []
    for position in range(count):
        points = [(column, rows[position]) for column, rows in alive]
        (c0, r0), (c1, r1) = points[0], points[-1]
        stride, rest = divmod(r1 - r0, c1 - c0) if c1 != c0 else (0, 0)
        fits = not rest and all(row == r0 + stride * (column - c0) for column, row in points)
        maps.append(Rows(op.module, stride if fits and stride > 0 else 0, r0 - stride * c0))
    return maps


def _site(trace: Trace, op: Op, found: list[tuple[Op, Rows]], layer: int, named: frozenset[str]) -> Site:
    units = op.rows.shape[1]
    post = op.rows.detach()  # [token, unit]
    factors = [
        up.leaf.detach().reshape(-1, up.width)[:, rows.offset :: rows.stride][:, :units] for up, rows in found
    ]  # each [token, unit]
    activation, first = _name_activation(post, factors, named)
    norm = read_norm(trace, found[first][0])
    order = [found[first], *(pair for i, pair in enumerate(found) if i != first)]
    return Site(
        layer=layer,
        down=op.module,
        up=tuple(rows for _, rows in order),
        width=units,
        norm=norm.module if norm is not None else "",
        activation=activation,
    )


def read_norm(trace: Trace, op: Op) -> Op | None:
    """The norm whose output ``op`` reads unchanged, or None."""
    x = op.rows
    token, column = x.shape[0] // 2, x.shape[1] // 2
    depends = trace.depends(x[token, column])
    if len(depends) != 1:
        return None
    (source, gradient), *_ = depends.items()
    alone = gradient.count_nonzero() == 1 and bool((gradient[token, column] - 1).abs() < 1e-5)
    return source if source.kind == NORM and alone else None


def _name_activation(post: Tensor, factors: list[Tensor], named: frozenset[str]) -> tuple[str, int]:
    """The activation that best turns the factors into ``post``, and which factor it acts on."""
    post, factors = post.float(), [f.float() for f in factors]
    scale = float(post.abs().max()) or 1.0
    errors: dict[tuple[str, int], float] = {}
    for name in ACT2FN:
        function = _activation(name)
        if function is None:
            continue
        for index, factor in enumerate(factors):
            value = function(factor) if len(factors) == 1 else function(factor) * factors[1 - index]
            errors[name, index] = float((value - post).abs().max()) / scale
    least = min(errors.values())
    if least > NAMED:
        return "", 0
    alike = [pair for pair, error in errors.items() if error <= 2 * least + 1e-7]
    return next((pair for pair in alike if pair[0] in named), alike[0])


@cache
def _activation(name: str) -> nn.Module | None:
    """One of transformers' activations, or None if it has weights or needs arguments: then it is not a name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function: nn.Module = ACT2FN[name]
            function(torch.zeros(1))
        except (TypeError, ValueError, RuntimeError, ImportError):
            return None
    return function if not list(function.parameters()) else None
