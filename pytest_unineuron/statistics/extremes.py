"""The tokens at which every unit is strongest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

KEPT = 5


@dataclass(frozen=True, eq=False)
class Extremes:
    """The ``KEPT`` largest values of every unit and the tokens they came from, [rank, unit], largest first.

    ``tokens`` are numbers of tokens in the sweep; a rank that was never filled has value −inf and token −1.
    """

    values: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The extremes of one batch: ``values`` [token, unit], ``tokens`` [token]."""
        del labels
        missing = KEPT - values.shape[0]
        if missing > 0:
            values = torch.cat([values, values.new_full((missing, values.shape[1]), float("-inf"))])
            tokens = torch.cat([tokens, tokens.new_full((missing,), -1)])
        # Along rows that lie in memory one after the other; along columns it takes twice as long.
        top, where = values.T.contiguous().topk(KEPT, dim=1)  # [unit, rank]
        return cls(top.T, tokens[where.T])

    def __add__(self, other: Self) -> Self:
        """The extremes of both batches together."""
        both = torch.cat([self.values, other.values.to(self.values)])
        top, where = both.topk(KEPT, dim=0)
        return type(self)(top, torch.cat([self.tokens, other.tokens]).gather(0, where))

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other."""
        return cls(torch.cat([p.values for p in parts], dim=1), torch.cat([p.tokens for p in parts], dim=1))
