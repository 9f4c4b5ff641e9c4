"""Correlations of chosen pairs of units, which take no product of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from pytest_unineuron.statistics.correlation.comoments import MIN_VARIANCE
from pytest_unineuron.statistics.gemm import product

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

CPU_PAIRS = 256
"""Units whose products are computed at a time on a CPU: few enough to stay in the cache."""


@dataclass(frozen=True, eq=False)
class CentredUnits:
    """The units of one model in one batch about their mean.

    ``mean`` and ``squares``, the sums of squares about it, are [unit] float64. ``values`` [unit, token], float32 or
    float64, is contiguous by unit, so that chosen units are read in one go.
    """

    mean: Tensor
    squares: Tensor
    values: Tensor

    @classmethod
    def of(cls, units: Tensor) -> Self:
        """Return a centred copy of ``units`` [token, unit] of any float type."""
        dtype = torch.float64 if units.dtype == torch.float64 else torch.float32
        values = units.T.to(dtype, copy=True, memory_format=torch.contiguous_format)
        mean = values.mean(dim=1, keepdim=True)
        values -= mean
        rest = values.mean(dim=1, keepdim=True)  # the rounding error of the mean
        values -= rest
        return cls((mean.double() + rest.double())[:, 0], _dot_products(values, values), values)

    def rotated(self, rotations: Sequence[Tensor], scale: Tensor, layers: Sequence[slice]) -> CentredUnits:
        """Return the units times ``scale`` [unit], with those of each of ``layers`` in another basis.

        ``rotations`` holds the basis of each layer, [direction, unit].
        """
        values, mean = torch.empty_like(self.values), torch.empty_like(self.mean)
        for rotation, layer in zip(rotations, layers, strict=True):
            scaled = rotation * scale[layer]
            values[layer] = product(scaled, self.values[layer].T)
            mean[layer] = scaled.double() @ self.mean[layer]
        return CentredUnits(mean, _dot_products(values, values), values)


@dataclass(frozen=True, eq=False)
class PairComoments:
    """Co-moments of chosen pairs of units, one number per pair; two of them can be added.

    ``mean_x`` and ``xx`` are [pair]; the others are [comparison, pair], since several units are paired with each first
    unit. Sums are about the mean: in the precision of the units within a batch, float64 over batches.
    """

    count: float
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: CentredUnits, comparisons: Iterable[tuple[CentredUnits, Tensor]]) -> Self:
        """Return the sums of one batch, of every unit of ``x`` with one unit of each comparison.

        A comparison is the units of another model and the number of the partner of each unit of ``x``, [unit]. They
        may be made one after the other, so that not all are in memory at once.
        """
        found = [(y.mean[to], y.squares[to], _dot_products(x.values, y.values, to)) for y, to in comparisons]
        mean_y, yy, xy = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return cls(float(x.values.shape[1]), x.mean, mean_y, x.squares, yy, xy)

    def __add__(self, other: Self) -> Self:
        """Return the sums over the tokens of both (Chan, Golub and LeVeque 1983)."""
        n = self.count + other.count
        weight = self.count * other.count / n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        return type(self)(
            n,
            self.mean_x + dx * other.count / n,
            self.mean_y + dy * other.count / n,
            self.xx + other.xx + dx**2 * weight,
            self.yy + other.yy + dy**2 * weight,
            self.xy + other.xy + dx * dy * weight,
        )

    @property
    def correlation(self) -> Tensor:
        """Pearson's ρ of every pair, [comparison, pair] float64, within ± 1.

        It is nan where either unit never varied, or so little or so much that its squares are not float32.
        """
        scale = self.xx.sqrt() * self.yy.sqrt()
        defined = self._varies(self.xx, self.mean_x) & self._varies(self.yy, self.mean_y)
        return torch.where(defined, (self.xy / scale).clamp(-1, 1), torch.nan)  # beyond by rounding alone

    def _varies(self, squares: Tensor, mean: Tensor) -> Tensor:
        """Whether the variance is finite, and more than rounding."""
        return (squares > self.count * (1e-12 * mean**2).clamp_min(MIN_VARIANCE)) & squares.isfinite()


def _dot_products(x: Tensor, y: Tensor, partner: Tensor | None = None) -> Tensor:
    """Σ over tokens of each unit of ``x`` times its partner in ``y``, by default the same unit, [unit] float64."""
    size = CPU_PAIRS if x.device.type == "cpu" else max(1, len(x))
    parts = []
    for start, units in zip(range(0, len(x), size), x.split(size), strict=True):
        part = slice(start, start + size)
        parts.append((units * (y[part] if partner is None else y[partner[part]])).sum(dim=1))
    return torch.cat(parts).double()
