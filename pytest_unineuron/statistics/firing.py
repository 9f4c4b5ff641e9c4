"""How often every unit is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.statistics.accumulator import Accumulator, Statistic

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.scratch import Scratch


class FiringAccumulator(Accumulator["Firing"]):
    """Counts of the values above zero."""

    def __init__(self, units: int, device: Any) -> None:
        self._count = 0
        self._positive = torch.zeros(units, dtype=torch.int64, device=device)

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Add the counts of a tile [token, unit]."""
        # Ones and zeros are summed as floats: exact up to 2²⁴ rows, and three times as fast as a sum of bools.
        on = torch.gt(tile, 0, out=scratch.empty_like(tile, "y"))
        self._positive += on.sum(dim=0, dtype=torch.promote_types(on.dtype, torch.float32)).long()
        self._count += len(tile)

    def result(self) -> Firing:
        """Return the counts so far."""
        count = torch.full((), self._count, dtype=torch.int64, device=self._positive.device)
        return Firing(count, self._positive.clone())


@dataclass(frozen=True, eq=False)
class Firing(Statistic):
    """Exact counts: of tokens, [] or [unit], and of those at which a unit's value is above zero, [unit]; int64.

    The paper calls this share sparsity (Gurnee et al. 2024, figure 3). Its code counts values above −0.098 because
    of an off-by-one in a histogram; here the bound is zero.
    """

    accumulator = FiringAccumulator

    count: Tensor
    positive: Tensor

    def __add__(self, other: Firing) -> Firing:
        """Return the counts over the tokens of both."""
        return Firing(self.count + other.count, self.positive + other.positive)

    @property
    def density(self) -> Tensor:
        """P(value > 0), [unit], float64."""
        return self.positive.double() / self.count.double()
