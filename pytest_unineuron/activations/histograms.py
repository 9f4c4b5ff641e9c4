"""Histograms of the activations of a few neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.activations.forward_pass import Consumer, run_pass
from pytest_unineuron.statistics import PRE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor, nn

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.layout import NeuronLayout

N_BINS = 32


class _Kept(Consumer):
    """Keeps the pre-activations of some units of each layer, [token, unit], at text tokens that are no sinks."""

    sites = frozenset({PRE})

    def __init__(self, units: dict[int, list[int]]) -> None:
        self._units = units
        self._tokens = torch.empty(0, dtype=torch.bool)
        self.values: dict[int, list[Tensor]] = {index: [] for index in units}

    def start_batch(self, batch: Batch) -> None:
        self._tokens = (batch.text_mask & ~batch.sink_mask).flatten()

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        if index in self._units:
            kept = self._tokens.to(values.device)
            kept = kept if tokens is None else kept[tokens]
            self.values[index].append(values[:, self._units[index]][kept].double().cpu())


def unit_histograms(
    model: nn.Module, layout: NeuronLayout, batches: Iterable[Batch], units: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return edges [unit, bin + 1] float64 and counts [unit, bin] of the pre-activations of some neurons of a model.

    ``units`` are numbers in the model. The bins of a neuron are equally wide, from its smallest value to its largest;
    edges are nan where it was never computed, as an expert's may be. All values are in memory: 8 bytes for each of
    these neurons and each token.
    """
    place = [layout.place_of(unit) for unit in units]
    wanted = {index: sorted({unit for at, unit in place if at == index}) for index, _ in place}
    kept = _Kept(wanted)
    run_pass(model, layout, batches, [kept])
    none = {index: torch.empty(0, len(units)) for index, units in wanted.items()}
    values = {index: torch.cat(parts) if parts else none[index] for index, parts in kept.values.items()}
    found = [_histogram(values[index][:, wanted[index].index(unit)].numpy()) for index, unit in place]
    edges, counts = zip(*found, strict=True)
    return torch.stack(edges), torch.stack(counts)


def _histogram(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """The edges and counts of the values of one unit, [token]."""
    if not len(values):
        return torch.full((N_BINS + 1,), torch.nan, dtype=torch.float64), torch.zeros(N_BINS, dtype=torch.int64)
    counts, edges = np.histogram(values, N_BINS)
    return torch.from_numpy(edges), torch.from_numpy(counts)
