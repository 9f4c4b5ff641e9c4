"""The mean of every unit over the tokens that carry a label, such as the last token of a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from pytest_unineuron.statistics.accumulator import Accumulator, Statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch


class LabelMeansAccumulator(Accumulator["LabelMeans"]):
    """Sums by label. The few tokens that have a label are selected from a batch once it is complete."""

    def __init__(self, units: int, device: Any) -> None:
        count = torch.zeros(0, 1, dtype=torch.int64, device=device)
        self._result = LabelMeans(count, torch.zeros(0, units, dtype=torch.float64, device=device))

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Do nothing: most tokens have no label."""

    def finish_batch(self, batch: LayerBatch) -> None:
        """Add the tokens that have a label."""
        if batch.labels is None:
            return
        labelled = (batch.labels >= 0).nonzero().flatten()  # makes the host wait for a GPU, in labelled text only
        if not len(labelled):
            return
        labels = batch.labels[labelled]
        count = torch.bincount(labels)[:, None]
        total = torch.zeros(len(count), batch.values.shape[1], dtype=torch.float64, device=labels.device)
        total.index_add_(0, labels, batch.values[batch.rows_of(labelled)].double())
        self._result += LabelMeans(count, total)

    def result(self) -> LabelMeans:
        """Return the sums so far."""
        return self._result


@dataclass(frozen=True, eq=False)
class LabelMeans(Statistic):
    """Sums over the tokens of each label: ``total`` [label, unit] float64, ``count`` [label, 1] or [label, unit] int64.

    Labels are whole numbers from 0; tokens with a negative label are left out. Parts may have seen different labels.
    """

    accumulator = LabelMeansAccumulator

    count: Tensor
    total: Tensor

    def __add__(self, other: LabelMeans) -> LabelMeans:
        """Return the sums over the tokens of both."""
        labels = max(len(self.count), len(other.count))
        a, b = self._padded(labels), other._padded(labels)
        return LabelMeans(a.count + b.count, a.total + b.total)

    @classmethod
    def concat_units(cls, parts: Sequence[LabelMeans]) -> LabelMeans:
        """Return the sums of the units of all parts. ``count`` stays [label, 1] if all saw the same tokens."""
        labels = max(len(part.count) for part in parts)
        parts = [part._padded(labels) for part in parts]
        count = parts[0].count
        if not (count.shape[1] == 1 and all(torch.equal(part.count, count) for part in parts)):
            count = torch.cat([part.count.expand(part.total.shape) for part in parts], dim=1)
        return LabelMeans(count, torch.cat([part.total for part in parts], dim=1))

    def _padded(self, labels: int) -> LabelMeans:
        """The same sums with empty rows for labels that only others saw."""
        rows = (0, 0, 0, labels - len(self.count))
        return LabelMeans(pad(self.count, rows), pad(self.total, rows))

    @property
    def mean(self) -> Tensor:
        """Mean over the tokens of each label, [label, unit] float64; nan for a label without tokens."""
        return self.total / self.count.double()
