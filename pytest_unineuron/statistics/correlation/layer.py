"""Co-moments of the units of one layer with one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from pytest_unineuron.statistics.correlation.comoments import (
    MIN_VARIANCE,
    SQUARE_ROWS,
    Comoments,
    shifted_cross,
    standard_deviation,
)
from pytest_unineuron.statistics.correlation.shifted import widened
from pytest_unineuron.statistics.gemm import add_product, product

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.correlation.shifted import ShiftedUnits


@dataclass(eq=False)
class LayerComoments(Comoments):
    """Sums of the units of one layer, [unit] float64, and of their products, ``cross`` [unit, unit].

    The product is symmetric, so only the upper triangle of ``cross`` is computed, in tiles; the rest is undefined.
    """

    shift: Tensor
    sums: Tensor
    cross: Tensor

    @classmethod
    def zeros(cls, *shifts: Tensor) -> Self:
        """Return sums over no token about a shift [unit]."""
        (shift,) = map(widened, shifts)
        return cls(0, shift, torch.zeros_like(shift, dtype=torch.float64), shift.new_zeros(len(shift), len(shift)))

    def update(self, x: ShiftedUnits) -> None:
        """Add a batch about the same shift."""
        self.count += len(x.values)
        self.sums += x.sums
        for start in range(0, x.values.shape[1], SQUARE_ROWS):
            rows = slice(start, start + SQUARE_ROWS)
            add_product(self.cross[rows, start:], x.values[:, rows], x.values[:, start:])

    def about(self, *shifts: Tensor) -> Self:
        """Return the sums of the same tokens about another shift [unit]."""
        (shift,) = map(widened, shifts)
        move = self.shift.double() - shift.double()
        cross = shifted_cross(self.cross, (self.sums, self.sums), (move, move), self.count)
        return type(self)(self.count, shift, self.sums + self.count * move, cross)

    def covariance(self) -> Tensor:
        """Return the covariance of the units, [unit, unit]."""
        mean = (self.sums / self.count).to(self.cross.dtype)
        upper = self.cross.triu() / self.count
        return upper + upper.triu(1).T - torch.outer(mean, mean)

    def deviation(self) -> Tensor:
        """Return the population standard deviation of the units, [unit]; nan for a constant unit."""
        return standard_deviation(self.cross.diagonal().double() / self.count, self.sums / self.count, self.shift)

    def deviation_along(self, directions: Tensor) -> Tensor:
        """Return the standard deviation along each of ``directions`` [direction, unit], [direction].

        It is nan where the variance is not more than the rounding of float32 sums can explain, and for a direction
        with a component along a unit whose squares are not float32. Units of component 0 count as nothing.
        """
        overflowed = ~self.cross.diagonal().isfinite()
        covariance = self.covariance()
        covariance[overflowed], covariance[:, overflowed] = 0, 0
        undefined = (directions[:, overflowed] != 0).any(dim=1)
        # What rounding adds along each unit: of values as far from zero as the shift, and of sums of their squares.
        noise = 1e-6 * self.shift.abs() + (1e-6 * covariance.diagonal()).clamp_min(MIN_VARIANCE).sqrt()
        floor = (directions * noise).square_().sum(dim=1)
        variance = (product(directions, covariance) * directions).sum(dim=1)  # the covariance is symmetric
        return torch.where((variance > floor) & ~undefined, variance, torch.nan).sqrt()
