"""Sums of activations over the tokens of each label, such as those of one type or at one position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics import POST, PRE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.layout import NeuronLayout
    from pytest_unineuron.models.weights.weight_view import WeightView


def sums_by_label(
    view: WeightView,
    layout: NeuronLayout,
    batches: Sequence[Batch],
    count: int,
    label: Callable[[Batch], Tensor],
    *,
    on: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return sums of post-activations [neuron, label] and the number of tokens [label], float64.

    They are over the text tokens that have one of ``count`` labels: ``label`` returns that of every position of a
    batch, [row, position], negative for none. Neurons are those of ``layout``. With ``on``, it is the number of these
    tokens at which a neuron is on, its pre-activation above 0, instead of a sum.
    """
    sums = [torch.zeros(layer.width, count, dtype=torch.float64) for layer in layout.layers]
    tokens = torch.zeros(count, dtype=torch.float64)
    current: list[Tensor] = []

    def receive(site: str, index: int, values: Tensor, rows: Tensor | None) -> None:
        if site != (PRE if on else POST):
            return
        of_row = current[0] if rows is None else current[0][rows.cpu()]
        chosen = of_row >= 0
        counted = (values > 0 if on else values).cpu()[chosen].double()
        sums[index].index_add_(1, of_row[chosen], counted.T)

    with capture_activations(view.loaded.model, layout, receive, stream=False) as capture:
        for batch in batches:
            current[:] = [torch.where(batch.text_mask, label(batch), -1).flatten()]
            tokens += torch.bincount(current[0][current[0] >= 0], minlength=count)
            capture.forward(batch.ids, batch.attention_mask)
    return torch.cat(sums), tokens
