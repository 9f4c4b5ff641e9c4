"""Co-moments of the units of two models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import torch

from pytest_unineuron.statistics.correlation.comoments import Comoments, shifted_cross, standard_deviation
from pytest_unineuron.statistics.correlation.shifted import widened
from pytest_unineuron.statistics.gemm import add_product, product

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.correlation.shifted import ShiftedUnits

ALL = slice(None)


@dataclass(eq=False)
class CrossComoments(Comoments):
    """Sums of the units of two models, x and y, over the same tokens, and of their products.

    Shifts, sums and squares are [unit of x] or [unit of y]; ``cross`` is [unit of x, unit of y]. Shifts and ``cross``
    have the precision of the units, float32 or float64; sums and squares are float64.
    """

    shift_x: Tensor
    shift_y: Tensor
    sums_x: Tensor
    sums_y: Tensor
    squares_x: Tensor
    squares_y: Tensor
    cross: Tensor

    @classmethod
    def zeros(cls, *shifts: Tensor) -> Self:
        """Return sums over no token about the shifts of x and y, [unit] each."""
        x, y = map(widened, shifts)
        of_x, of_y = (partial(torch.zeros_like, shift, dtype=torch.float64) for shift in (x, y))
        return cls(0, x, y, of_x(), of_y(), of_x(), of_y(), x.new_zeros(len(x), len(y)))

    def update(self, x: ShiftedUnits, y: ShiftedUnits) -> None:
        """Add a batch about the same shifts."""
        self.count += len(x.values)
        self.sums_x += x.sums
        self.sums_y += y.sums
        self.squares_x += x.squares
        self.squares_y += y.squares
        add_product(self.cross, x.values, y.values)

    def about(self, *shifts: Tensor) -> Self:
        """Return the sums of the same tokens about other shifts of x and y, [unit] each."""
        x, y = map(widened, shifts)
        moves = self.shift_x.double() - x.double(), self.shift_y.double() - y.double()
        (d, e), n = moves, self.count
        return type(self)(
            count=n,
            shift_x=x,
            shift_y=y,
            sums_x=self.sums_x + n * d,
            sums_y=self.sums_y + n * e,
            squares_x=self.squares_x + d * (2 * self.sums_x + n * d),
            squares_y=self.squares_y + e * (2 * self.sums_y + n * e),
            cross=shifted_cross(self.cross, (self.sums_x, self.sums_y), moves, n),
        )

    @property
    def deviation_x(self) -> Tensor:
        """The population standard deviation of the units of x, [unit]; nan for a constant unit."""
        return standard_deviation(self.squares_x / self.count, self.sums_x / self.count, self.shift_x)

    @property
    def deviation_y(self) -> Tensor:
        """The population standard deviation of the units of y, [unit]; nan for a constant unit."""
        return standard_deviation(self.squares_y / self.count, self.sums_y / self.count, self.shift_y)

    def covariance(self, columns: slice = ALL, rows: slice = ALL) -> Tensor:
        """Return the covariance of the units ``rows`` of x with the units ``columns`` of y, [unit of x, unit of y]."""
        x, y = ((sums / self.count).to(self.cross.dtype) for sums in (self.sums_x[rows], self.sums_y[columns]))
        return torch.addr(self.cross[rows, columns], x, y, beta=1 / self.count, alpha=-1)

    def correlation(self, columns: slice = ALL, rows: slice = ALL) -> Tensor:
        """Return Pearson's ρ, [unit of x, unit of y]; nan, which is undefined and not zero, for a constant unit.

        Gurnee et al. 2024, equation 2.
        """
        return self._standardised_x(columns, rows).div_(self.deviation_y[columns])

    def direction_correlation(self, columns: slice, directions: Tensor, rows: slice = ALL) -> Tensor:
        """Return ρ of the units ``rows`` of x with directions of one layer of y, [unit of x, direction].

        ``columns`` are the units of that layer; ``directions`` [direction, unit] are scaled to standard deviation one,
        see ``LayerComoments.deviation_along``. Gurnee et al. 2024, equation 3, where it is the baseline.
        """
        standardised = self._standardised_x(columns, rows)
        overflowed = ~self.squares_y[columns].isfinite()
        if overflowed.any():  # defined directions have no component along these units, but 0 · inf is nan
            standardised[:, overflowed] = 0
        return product(standardised, directions)

    def _standardised_x(self, columns: slice, rows: slice) -> Tensor:
        """The covariance with the units of x scaled to standard deviation one, [unit of x, unit of y]."""
        return self.covariance(columns, rows).div_(self.deviation_x[rows, None])
