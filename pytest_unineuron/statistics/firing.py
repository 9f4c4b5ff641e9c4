"""How often every unit is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch

from pytest_unineuron.statistics.layer_batch import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch

F = TypeVar("F", bound="Firing")


@dataclass(frozen=True, eq=False)
class Firing:
    """The share of tokens at which a unit's value is above zero.

    Exact: whole counts, [unit]. The paper calls this sparsity; it is a density (its code counts values above
    −0.098 by an off-by-one; here it is zero).
    """

    count: Tensor
    positive: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The counts of one batch [token, unit]."""
        return gathered(cls.accumulator(values.shape[1], values.device), values, tokens, labels)

    @classmethod
    def accumulator(cls, units: int, device: Any) -> FiringAccumulator[Self]:
        """The counts of nothing yet."""
        return FiringAccumulator(cls, units, device)

    def __add__(self, other: Self) -> Self:
        """The counts of both batches together."""
        return type(self)(self.count + other.count, self.positive + other.positive)

    @classmethod
    def concat_units(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; ``count`` is [unit]."""
        counts = torch.cat([part.count.expand(len(part.positive)) for part in parts])
        return cls(counts, torch.cat([part.positive for part in parts]))

    @property
    def density(self) -> Tensor:
        """P(value > 0), [unit], float64."""
        return self.positive.double() / self.count.double()


class FiringAccumulator(Generic[F]):
    """Counts under way."""

    def __init__(self, kind: type[F], units: int, device: Any) -> None:
        self._kind = kind
        self._count = 0
        self._positive = torch.zeros(units, dtype=torch.int64, device=device)

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Ones and zeros are summed as floats, which is exact up to 2²⁴ rows and thrice as fast as summing bools."""
        on = torch.gt(tile, 0, out=scratch.like(tile, "y"))
        self._positive += on.sum(dim=0, dtype=torch.promote_types(on.dtype, torch.float32)).long()
        self._count += len(tile)

    def finish_batch(self, rows: LayerBatch) -> None:
        """Which tokens they were does not matter."""

    def result(self) -> F:
        """The counts so far."""
        count = torch.full((), self._count, dtype=torch.int64, device=self._positive.device)
        return self._kind(count, self._positive.clone())
