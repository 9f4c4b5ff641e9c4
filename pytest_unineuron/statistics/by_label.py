"""The mean of every unit over the tokens that carry a label, such as the last token of a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ByLabel:
    """Sums over the tokens of each label: ``total`` [label, unit] float64, ``count`` [label] or [label, unit].

    Labels are whole numbers from 0; a token with a negative label is left out. Two sums need not have seen
    the same labels.
    """

    count: Tensor
    total: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The sums of one batch: ``values`` [token, unit], ``labels`` [token]."""
        del tokens
        chosen = labels >= 0
        kept = labels[chosen]
        size = int(kept.max()) + 1 if len(kept) else 0
        total = torch.zeros((size, values.shape[1]), dtype=torch.float64, device=values.device)
        if size:
            total.index_add_(0, kept, values[chosen].double())
        return cls(torch.bincount(kept, minlength=size), total)

    def __add__(self, other: Self) -> Self:
        """The sums of both batches together."""
        size = max(len(self.count), len(other.count))
        a, b = self._grown(size), other._grown(size)
        return type(self)(_sum(a.count, b.count), a.total + b.total)

    def _grown(self, size: int) -> Self:
        more = size - len(self.count)
        if not more:
            return self
        count = torch.cat([self.count, self.count.new_zeros(more, *self.count.shape[1:])])
        return type(self)(count, torch.cat([self.total, self.total.new_zeros(more, self.total.shape[1])]))

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; ``count`` is [label, unit] if they saw different tokens."""
        size = max(len(part.count) for part in parts)
        parts = [part._grown(size) for part in parts]
        count = parts[0].count
        if not all(torch.equal(part.count, count) for part in parts):
            count = torch.cat([part.count[:, None].expand(part.total.shape) for part in parts], dim=1)
        return cls(count, torch.cat([part.total for part in parts], dim=1))

    @property
    def mean(self) -> Tensor:
        """Mean over the tokens of each label, [label, unit]; nan for a label that never came."""
        count = self.count.double()
        return self.total / (count if count.dim() == 2 else count[:, None])


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Of counts by label, where one may be by unit too."""
    if a.dim() == b.dim():
        return a + b
    return a + b[:, None] if a.dim() == 2 else a[:, None] + b
