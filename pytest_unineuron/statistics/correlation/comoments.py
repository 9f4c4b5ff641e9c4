"""The base class of sums of products of units, and the standard deviations that follow from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

SQUARE_ROWS = 256
"""Rows of a square of units that are computed at a time."""


@dataclass(eq=False)
class Comoments(ABC):
    """Sums over tokens of units and of products of units, about fixed shifts, to which batches are added in place.

    Those of different tokens can be added field by field if they are about the same shifts. Fields are tensors apart
    from ``count``, the number of tokens. Those whose names begin with "shift" are [unit]; all others are sums.
    """

    count: int

    @classmethod
    @abstractmethod
    def zeros(cls, *shifts: Tensor) -> Self:
        """Return sums over no token about these shifts, [unit] each."""

    @abstractmethod
    def about(self, *shifts: Tensor) -> Self:
        """Return the sums of the same tokens about other shifts, [unit] each."""

    def as_tensors(self) -> dict[str, Tensor]:
        """Return all fields by name, to be stored or sent. The tensors are not copied."""
        return {**vars(self), "count": torch.tensor(self.count)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return what ``as_tensors`` took apart; takes over the tensors."""
        fields: dict[str, Any] = {**tensors, "count": int(tensors["count"])}
        return cls(**fields)


def shifted_cross(cross: Tensor, sums: tuple[Tensor, Tensor], moves: tuple[Tensor, Tensor], count: int) -> Tensor:
    """Return sums of products [unit of x, unit of y] of units moved by ``moves``, in the dtype of ``cross``.

    ``sums`` are the sums of x and of y over ``count`` tokens before the move; these and ``moves`` are [unit] float64.
    """
    # Σ (x + d)(y + e) = Σ xy + d Σ y + (Σ x + n d) e, a few rows at a time, since float64 takes twice the memory.
    (d, e), (x, y) = moves, sums
    moved = torch.empty_like(cross)
    for start in range(0, len(cross), SQUARE_ROWS):
        rows = slice(start, start + SQUARE_ROWS)
        moved[rows] = torch.outer(d[rows], y) + torch.outer(x[rows] + count * d[rows], e) + cross[rows]
    return moved


MIN_VARIANCE = 1e-30
"""Products of values much smaller than the root of this lose digits in float32, so smaller variances count as zero."""


def standard_deviation(mean_square: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
    """Return the population standard deviation, [unit] in the dtype of ``shift``; nan for a constant unit.

    ``mean_square`` and ``mean``, [unit] float64, are those of values about ``shift``. A variance that the rounding of a
    constant can explain counts as zero, as does one below ``MIN_VARIANCE``, and one that is not finite is undefined.
    """
    variance = mean_square - mean**2
    rounding = 1e-12 * (mean_square + shift.double() ** 2)
    defined = (variance > rounding) & (variance > MIN_VARIANCE) & variance.isfinite()
    return torch.where(defined, variance, torch.nan).sqrt().to(shift.dtype)


def inverse_deviation(deviation: Tensor) -> Tensor:
    """Return one over each standard deviation, [unit], and 0 for nan, so that constant units count as nothing."""
    return torch.where(deviation > 0, 1 / deviation, 0.0)
