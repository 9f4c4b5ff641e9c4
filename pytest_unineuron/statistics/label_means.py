"""The mean of every unit over the tokens that carry a label, such as the last token of a word."""

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

B = TypeVar("B", bound="LabelMeans")


@dataclass(frozen=True, eq=False)
class LabelMeans:
    """Sums over the tokens of each label: ``total`` [label, unit] float64, ``count`` [label] or [label, unit].

    Labels are whole numbers from 0; a token with a negative label is left out. Two sums need not have seen
    the same labels.
    """

    count: Tensor
    total: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The sums of one batch: ``values`` [token, unit], ``labels`` [token]."""
        return gathered(cls.accumulator(values.shape[1], values.device), values, tokens, labels)

    @classmethod
    def accumulator(cls, units: int, device: Any) -> LabelMeansAccumulator[Self]:
        """The sums of nothing yet."""
        return LabelMeansAccumulator(cls, units, device)

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
    def concat_units(cls, parts: Sequence[Self]) -> Self:
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


class LabelMeansAccumulator(Generic[B]):
    """Sums by label under way: the few tokens with a label are picked out of a batch once it is complete."""

    def __init__(self, kind: type[B], units: int, device: Any) -> None:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        self._sum = kind(none, torch.zeros(0, units, dtype=torch.float64, device=device))

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Most tokens have no label."""

    def finish_batch(self, rows: LayerBatch) -> None:
        """The tokens of this batch that have one. Only a text with labels makes a GPU wait here."""
        if rows.labels is None:
            return
        labelled = (rows.labels >= 0).nonzero().flatten()
        if not len(labelled):
            return
        labels = rows.labels[labelled]
        count = torch.bincount(labels)
        total = torch.zeros(len(count), rows.values.shape[1], dtype=torch.float64, device=labels.device)
        total.index_add_(0, labels, rows.values[rows.at(labelled)].double())
        self._sum += type(self._sum)(count, total)

    def result(self) -> B:
        """The sums so far."""
        return self._sum


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Of counts by label, where one may be by unit too."""
    if a.dim() == b.dim():
        return a + b
    return a + b[:, None] if a.dim() == 2 else a[:, None] + b
