"""The units of one model in one batch, as products are taken of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from torch import Tensor

CPU_SQUARES = 64
"""Units that are squared at a time on a CPU: few enough for their squares to stay in the cache."""


def widened(units: Tensor) -> Tensor:
    """Return ``units`` of any shape in the precision of products: float64 as they are, all others in float32."""
    return units if units.dtype == torch.float64 else units.float()


@dataclass(frozen=True, eq=False)
class ShiftedUnits:
    """The units of one model in one batch about a shift near their mean, so that float32 sums are exact enough.

    ``values`` is [token, unit], float32 or float64; ``shift`` is [unit]. Sums are computed once, however many models
    these units are compared with.
    """

    values: Tensor
    shift: Tensor

    @classmethod
    def of(cls, units: Tensor, shift: Tensor | None = None) -> Self:
        """Subtract ``shift`` [unit], or the mean if None, from ``units`` [token, unit].

        Batches whose sums are added share a shift, such as the one made for the first of them. ``units`` of float32
        or float64 are changed in place.
        """
        values = widened(units)
        shift = values.mean(dim=0) if shift is None else shift
        return cls(values.sub_(shift), shift)

    def __getitem__(self, columns: slice) -> ShiftedUnits:
        """Return some of the units, with those sums that were computed already."""
        if columns.indices(len(self.shift)) == (0, len(self.shift), 1):
            return self
        part = ShiftedUnits(self.values[:, columns], self.shift[columns])
        known = {name: sums[columns] for name, sums in vars(self).items() if name in ("sums", "squares")}
        vars(part).update(known)  # where cached_property keeps its values
        return part

    @cached_property
    def sums(self) -> Tensor:
        """Sums over the tokens, [unit] float64."""
        return self.values.sum(dim=0).double()

    @cached_property
    def squares(self) -> Tensor:
        """Sums of squares over the tokens, [unit] float64."""
        size = CPU_SQUARES if self.values.device.type == "cpu" else len(self.shift)
        parts = self.values.split(max(1, size), dim=1)
        return torch.cat([part.square().sum(dim=0) for part in parts]).double()
