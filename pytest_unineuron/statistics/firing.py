"""How often every unit is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


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
        del tokens, labels
        count = torch.full((), values.shape[0], dtype=torch.int64, device=values.device)
        return cls(count, (values > 0).sum(dim=0, dtype=torch.int32).long())

    def __add__(self, other: Self) -> Self:
        """The counts of both batches together."""
        return type(self)(self.count + other.count, self.positive + other.positive)

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; ``count`` is [unit]."""
        counts = torch.cat([part.count.expand(len(part.positive)) for part in parts])
        return cls(counts, torch.cat([part.positive for part in parts]))

    @property
    def density(self) -> Tensor:
        """P(value > 0), [unit], float64."""
        return self.positive.double() / self.count.double()
